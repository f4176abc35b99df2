const SIZES = [0, 1, 2, 3] // of the sheet's own; 0: as large as fits

class Sheets extends Answers {
  constructor(model, el) {
    super(model, el, "Picker", "sheet")
    this.property = 0
    this.size = 0
  }

  async begin() {
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
    const choice = (text, key, action, properties) =>
      this.choice(text, key, this.colors[1], action, properties)
    this.gradeButtons = this.properties.map((name, at) => this.grades.map((grade, place) =>
      choice(grade, place + 1, () => this.grade(at, grade), { ariaLabel: `${name} ${grade}` })))
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
    const help = make("p", { className: "oa-help" },
      "e m p choose the property · 1–4 grade it and go to the next · k keep, x drop · "
      + `${Object.entries(this.reasons).map(([key, reason]) => `${key} ${reason}`).join(", ")} · `
      + "n note (Enter leaves it) · space saves and shows the next sheet · backspace goes back")
    this.root.prepend(this.bar("ctrl z", "ctrl y", []), this.status)
    this.root.append(this.sheet, this.panel, this.done, help)
  }

  target() {
    return this.item < this.items.length ? this.sheet : this.done
  }

  show(item) {
    this.item = item
    this.property = 0
    const numbers = (place) => (this.items[place] ? [this.items[place].idx] : [])
    return this.present(numbers(item), ([image]) => image && this.lay(image), numbers(item + 1))
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
    const kept = this.items.filter(({ again }, at) => !again && this.picks[at].chosen === 1)
    this.done.textContent = `All ${this.items.length} sheets are graded, ${kept.length} kept. `
      + `The picks are in ${this.file}. Backspace shows the last sheet.`
    const count = this.saved.filter((pick) => pick !== "null").length
    this.status.textContent = `Sheet ${Math.min(this.item + 1, this.items.length)} of `
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

  apply({ item, before, after }, forward) {
    this.picks[item] = forward ? after : before
    if (item === this.item) this.update()
    else this.go(item)
  }

  change(changes) {
    if (!this.items[this.item]) return
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
      this.report("Keep or drop this latent first: press k or x.")
      return false
    }
    try {
      await this.send({ item: this.item, pick: this.pick })
    } catch (error) {
      this.report(error)
      return false
    }
    this.saved[this.item] = text
    return true
  }

  async next() {
    if (this.item < this.items.length && await this.save()) await this.show(this.item + 1)
  }

  back() {
    return this.go(this.item - 1)
  }

  async go(item) {
    if (item < 0) return
    const decided = this.items[this.item] && this.pick.chosen !== undefined
    if (decided) await this.save()
    await this.show(item)
  }

  // --- keys

  key(event) {
    if (event.target !== this.note) return super.key(event)
    if (event.key === "Enter") this.target().focus()
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

export default shown(Sheets)
