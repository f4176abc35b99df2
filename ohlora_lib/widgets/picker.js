const SIZES = [0, 1, 2, 3] // of the sheet's own; 0: as large as fits

class Sheets {
  constructor(model, el) {
    this.kernel = new Kernel(model, () => {})
    this.parts = rootOf(el, "Picker")
    this.stopwatch = new Stopwatch()
    this.history = new History(({ item, before, after }, forward) => {
      this.picks[item] = forward ? after : before
      if (item === this.item) this.update()
      else this.go(item)
    })
    this.property = 0
    this.size = 0
    this.busy = false
    this.open()
  }

  async open() {
    const { root, problem, report } = this.parts
    root.append(problem)
    try {
      Object.assign(this, await patiently(this.kernel.ask("open"), report,
        "Waiting for the kernel: if it was restarted, run the widget's cell again."))
    } catch (error) {
      return report(error)
    }
    this.picks = this.items.map(({ pick }) => ({ ...pick }))
    this.saved = this.items.map(({ pick }) => JSON.stringify(pick ? { ...pick } : null))
    this.pictures = new Pictures(this.kernel, 6)
    this.draw()
    const first = this.items.findIndex(({ pick }) => !pick)
    await this.show(first < 0 ? this.items.length : first)
  }

  get pick() {
    return this.picks[this.item]
  }

  // --- drawing

  draw() {
    const { root, status } = this.parts
    const choice = (text, key, onclick, properties = {}) =>
      make("button", { className: "oa-choice", role: "radio", onclick, ...properties },
        make("kbd", {}, key), ` ${text}`)
    const button = (text, key, onclick) => make("button", { onclick }, make("kbd", {}, key), ` ${text}`)
    this.gradeButtons = this.properties.map((name, at) => this.grades.map((grade, place) =>
      choice(grade, place + 1, () => this.grade(at, grade))))
    this.rows = this.properties.map((name, at) =>
      make("div", { className: "oa-row", role: "radiogroup", ariaLabel: `Grade of ${name}` },
        make("b", {}, name), ...this.gradeButtons[at]))
    this.keep = [
      choice("keep", "k", () => this.change({ chosen: 1, reason: null })),
      choice("drop", "x", () => this.change({ chosen: 0 })),
    ]
    this.reasonButtons = Object.entries(this.reasons).map(([key, reason]) =>
      choice(reason, key, () => this.change({ chosen: 0, reason })))
    this.note = make("input", { className: "oa-note", placeholder: "note (n)", ariaLabel: "Note",
      onchange: () => this.change({ note: this.note.value || null }) })
    const marked = [...this.gradeButtons.flat(), ...this.keep, ...this.reasonButtons]
    marked.forEach((one) => one.style.setProperty("--mark", this.colors[1]))
    this.measured = make("div", { className: "oa-measured" })
    this.panel = make("div", { className: "oa-panel" },
      make("div", {}, ...this.rows,
        make("div", { className: "oa-row", role: "radiogroup", ariaLabel: "Keep or drop" },
          make("b", {}, "latent"), ...this.keep),
        make("div", { className: "oa-row", role: "radiogroup", ariaLabel: "Reason" },
          make("b", {}, "reason"), ...this.reasonButtons),
        make("div", { className: "oa-row" }, make("b", {}, "note"), this.note)),
      this.measured)
    this.sheet = make("div", { className: "oa-sheet", tabIndex: 0, role: "img" })
    this.done = make("div", { className: "oa-done", tabIndex: 0, hidden: true })
    const bar = make("div", { className: "oa-bar", role: "toolbar", ariaLabel: "Sheets" },
      make("span", {},
        button("next", "space", () => this.next()), button("back", "⌫", () => this.back()),
        button("undo", "ctrl z", () => this.history.undo()),
        button("redo", "ctrl y", () => this.history.redo()),
        button("larger", "+", () => this.enlarge(1)),
        button("smaller", "−", () => this.enlarge(-1)),
        make("button", { onclick: () => root.requestFullscreen() }, "full screen")))
    const help = make("p", { className: "oa-help" },
      "e m p choose the property · 1–4 grade it and go to the next · k keep, x drop · "
      + `${Object.entries(this.reasons).map(([key, reason]) => `${key} ${reason}`).join(", ")} · `
      + "n note (Enter leaves it) · space saves and shows the next sheet · backspace goes back")
    root.prepend(bar, status)
    root.append(this.sheet, this.panel, this.done, help)
    root.onkeydown = (event) => this.key(event)
    root.onclick = (event) => event.target.closest("button") && this.target().focus()
  }

  target() {
    return this.item < this.items.length ? this.sheet : this.done
  }

  async show(item) {
    const inside = this.parts.root.contains(document.activeElement)
    this.busy = true
    this.item = item
    this.property = 0
    try {
      const here = this.items[item]
      const [image] = here ? await patiently(this.pictures.get([here.idx]), this.parts.report,
        "Waiting for the kernel's images …") : []
      if (image) this.lay(image)
      this.update()
    } catch (error) {
      this.parts.report(error)
    } finally {
      this.busy = false
    }
    if (inside) this.target().focus({ preventScroll: true })
    await painted()
    const ahead = this.items[item + 1]
    if (ahead) this.pictures.get([ahead.idx]).catch(this.parts.report)
  }

  /** The sheet with its levels: eyes and pose above, mouth at the left. */
  lay(image) {
    const { eyes, mouth, pose } = this.levels
    const heads = eyes.flatMap((eye) => pose.map((turn) =>
      make("span", {}, `eyes ${eye}`, make("br"), `pose ${turn}`)))
    const sides = mouth.map((level) => make("span", {}, `mouth ${level}`))
    this.sheet.replaceChildren(make("div", { className: "oa-heads" }, ...heads),
      make("div", { className: "oa-sides" }, ...sides), image)
  }

  update() {
    const here = this.items[this.item]
    this.done.hidden = Boolean(here)
    this.sheet.hidden = this.panel.hidden = !here
    this.done.textContent = `All ${this.items.length} sheets are graded. The picks are in ${this.file}. `
      + "Backspace shows the last sheet."
    const count = this.saved.filter((pick) => pick !== "null").length
    this.parts.status.textContent = `Sheet ${Math.min(this.item + 1, this.items.length)} of `
      + `${this.items.length} · ${count} saved`
      + (here && !this.blind ? ` · latent ${here.idx}` : "") + (this.blind ? " · blind" : "")
    if (!here) return
    const image = this.sheet.querySelector("img")
    const times = SIZES[this.size]
    Object.assign(image.style, times ? { width: `${image.naturalWidth * times}px`, maxWidth: "none" }
      : { width: "auto", maxWidth: "100%" })
    this.sheet.ariaLabel = `Fifty expressions of ${this.blind ? "a latent" : `latent ${here.idx}`}`
    this.properties.forEach((name, at) => {
      this.rows[at].classList.toggle("oa-current", at === this.property)
      this.gradeButtons[at].forEach((one, place) => {
        one.ariaChecked = String(this.pick[name] === this.grades[place])
      })
    })
    this.keep.forEach((one, at) => { one.ariaChecked = String(this.pick.chosen === 1 - at) })
    Object.values(this.reasons).forEach((reason, at) => {
      this.reasonButtons[at].ariaChecked = String(this.pick.reason === reason)
    })
    this.note.value = this.pick.note ?? ""
    this.measured.replaceChildren(...(here.measured ? [this.table(here.measured)] : []))
  }

  table(measured) {
    const head = make("tr", {}, make("th", {}, "measured"),
      ...this.properties.map((name) => make("th", {}, name)))
    const rows = Object.entries(measured).map(([name, values]) =>
      make("tr", {}, make("td", {}, name), ...values.map((value) =>
        make("td", { colSpan: values.length === 1 ? this.properties.length : 1 }, value))))
    return make("table", {}, head, ...rows)
  }

  // --- answers

  change(changes) {
    if (this.busy || !this.items[this.item]) return
    const before = this.pick
    this.history.add({ item: this.item, before, after: { ...before, ...changes } })
  }

  grade(property, grade) {
    this.property = Math.min(property + 1, this.properties.length - 1)
    this.change({ [this.properties[property]]: grade })
  }

  // --- sheets

  /** Save this sheet's pick if it is decided and new; true if the next sheet may be shown. */
  async save() {
    const text = JSON.stringify(this.pick)
    if (this.saved[this.item] !== "null" && text === this.saved[this.item]) return true
    if (this.pick.chosen === undefined || this.pick.chosen === null) {
      this.parts.report("Keep or drop this latent first: press k or x.")
      return false
    }
    const seconds = Number((this.stopwatch.tick() - (this.turned ?? 0)).toFixed(2))
    this.busy = true
    try {
      await patiently(this.kernel.ask("save", { item: this.item, pick: this.pick, seconds }),
        this.parts.report, "Not saved yet, as the kernel does not answer. If it was restarted, "
        + "run the widget's cell again: all earlier picks are saved.")
      this.saved[this.item] = text
      this.turned = this.stopwatch.seconds
      this.parts.report("")
      return true
    } catch (error) {
      this.parts.report(error)
      return false
    } finally {
      this.busy = false
    }
  }

  async next() {
    if (!this.busy && this.item < this.items.length && await this.save()) {
      await this.show(this.item + 1)
    }
  }

  back() {
    return this.go(this.item - 1)
  }

  async go(item) {
    if (this.busy || item < 0) return
    const decided = this.items[this.item] && this.pick.chosen !== undefined
    if (decided) await this.save()
    await this.show(item)
  }

  // --- keys

  key(event) {
    const inNote = event.target === this.note
    if (inNote && event.key === "Enter") return this.target().focus()
    const onButton = event.target.tagName === "BUTTON" && (event.key === "Enter" || event.key === " ")
    if (inNote || onButton) return
    const history = event.ctrlKey || event.metaKey ? historyKey(event) : ""
    const action = history ? () => this.history[history]()
      : event.ctrlKey || event.metaKey || event.altKey ? null : this.action(event.key)
    if (!action) return
    event.preventDefault()
    this.stopwatch.tick()
    if (!this.busy) action()
  }

  action(key) {
    const small = key.toLowerCase()
    const property = this.properties.findIndex((name) => name[0] === small)
    if (property >= 0) return () => { this.property = property; this.update() }
    if (/^[1-4]$/.test(key)) return () => this.grade(this.property, this.grades[Number(key) - 1])
    if (this.reasons[small]) return () => this.change({ chosen: 0, reason: this.reasons[small] })
    return {
      " ": () => this.next(), "backspace": () => this.back(), "n": () => this.note.focus(),
      "k": () => this.change({ chosen: 1, reason: null }), "x": () => this.change({ chosen: 0 }),
      "+": () => this.enlarge(1), "=": () => this.enlarge(1), "-": () => this.enlarge(-1),
    }[small]
  }

  enlarge(by) {
    this.size = Math.max(0, Math.min(this.size + by, SIZES.length - 1))
    this.update()
  }
}

export default {
  render({ model, el }) {
    const sheets = new Sheets(model, el)
    return () => sheets.kernel.close()
  },
}
