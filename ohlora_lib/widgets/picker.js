class Sheets extends Answers {
  constructor(model, el) {
    super(model, el, "Picker", "sheet")
    this.property = 0
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
    this.gradeButtons = this.properties.map((name, at) =>
      Object.entries(this.grades).map(([grade, meaning], place) =>
        choice(`${grade} ${meaning}`, place + 1, () => this.grade(at, grade),
          { ariaLabel: `${name} ${grade} ${meaning}` })))
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
      make("div", {}, ...this.rows),
      make("div", {},
        make("div", { className: "oa-row" },
          make("span", { role: "radiogroup", ariaLabel: "Keep or drop" }, ...this.keep), this.note),
        make("div", { className: "oa-row", role: "radiogroup", ariaLabel: "Why it is dropped" },
          ...this.reasonButtons),
        this.reminder))
    this.sheet = make("div", { className: "oa-sheet", tabIndex: 0, role: "img" })
    this.view.append(this.sheet, this.measured)
    this.help.textContent = "e m p choose the property · grades are optional · "
      + `${Object.keys(this.reasons).join(" ")} drop the latent and say why · n note, Enter leaves it`
    this.graded = make("b")
    this.graded.style.setProperty("--mark", this.colors[1])
    this.task = make("div", { className: "oa-task" },
      make("span", { className: "oa-idle" }, "Click the sheet to start: then all keys are the widget's."),
      make("span", { className: "oa-working" }, "1 to 4 grade ", this.graded,
        ", then k keeps or x drops the latent."),
      this.status)
    this.sheet.onclick = () => this.attend()
    this.root.prepend(this.bar([]), this.task)
    this.root.append(this.view, this.more, this.panel, this.done, this.help)
  }

  parts() { // the sheet's five rows
    return this.saved[this.item] === "null" ? [...this.sheet.querySelectorAll(".oa-sides span")] : []
  }

  below(rows) {
    return rows.length > 1 ? `${rows.length} rows below` : "1 row below"
  }

  /** Widths of the sheet: as large as fits, then whole multiples of its own that are larger. */
  widths() {
    const image = this.sheet.querySelector("img")
    if (!image) return [0]
    const fitting = Math.min(image.naturalWidth, this.view.clientWidth - 50)
    return [fitting, ...[1, 2, 3].map((times) => image.naturalWidth * times)
      .filter((width) => width > fitting)]
  }

  sizes() {
    return this.widths().length
  }

  target() {
    return this.item < this.items.length ? this.sheet : this.done
  }

  show(item) {
    this.item = item
    this.size = 0 // all columns can be seen
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
    this.task.classList.toggle("oa-over", !here)
    for (const one of [this.view, this.more, this.panel, this.help]) one.hidden = !here
    this.done.textContent = this.allDone()
    const count = this.saved.filter((pick) => pick !== "null").length
    this.status.textContent = `Sheet ${Math.min(this.item + 1, this.items.length)} of `
      + `${this.items.length} · ${count} saved`
      + (here && !this.blind ? ` · latent ${here.idx}` : "") + (this.blind ? " · blind" : "")
    if (!here) return
    const widths = this.widths()
    this.size = Math.min(this.size, widths.length - 1)
    this.sheet.querySelector("img").style.width = `${widths[this.size]}px`
    this.showSizes()
    this.sheet.ariaLabel = `Fifty expressions of ${this.blind ? "a latent" : `latent ${here.idx}`}`
    this.graded.textContent = this.properties[this.property]
    this.properties.forEach((name, at) => {
      this.rows[at].classList.toggle("oa-current", at === this.property)
      this.gradeButtons[at].forEach((one, place) => {
        one.ariaChecked = String(this.pick[name] === Object.keys(this.grades)[place])
      })
    })
    this.keep.forEach((one, at) => { one.ariaChecked = String(this.pick.chosen === 1 - at) })
    Object.values(this.reasons).forEach((reason, at) => {
      this.reasonButtons[at].ariaChecked = String(this.pick.reason === reason)
    })
    this.note.value = this.pick.note ?? ""
    this.measured.replaceChildren(...(here.measured ? [this.table(here.measured)] : []))
  }

  /** A row per property with its responses, and the side effects of all three. */
  table(measured) {
    const entries = Object.entries(measured)
    const responses = entries.filter(([, values]) => values.length > 1)
    const head = make("tr", {}, make("th", {}, "measured"),
      ...responses.map(([name]) => make("th", {}, name)))
    const rows = this.properties.map((property, at) => make("tr", {}, make("td", {}, property),
      ...responses.map(([, values]) => make("td", {}, values[at]))))
    const effects = entries.filter(([, values]) => values.length === 1)
      .map(([name, [value]]) => `${name} ${value}`)
    return make("div", {}, make("table", {}, head, ...rows), effects.join(" · "))
  }

  /** What was decided about all sheets; those that were shown again do not count twice. */
  allDone() {
    const picks = this.picks.filter((_, at) => !this.items[at].again)
    const kept = picks.filter(({ chosen }) => chosen === 1).length
    const grades = picks.map((pick) => this.properties.filter((name) => pick[name]).length)
    const graded = grades.filter((count) => count === this.properties.length).length
    const partly = grades.filter((count) => count).length - graded
    return `All ${picks.length} latents are decided: ${kept} kept, ${picks.length - kept} dropped. `
      + `Grades: ${graded} with all ${this.properties.length}, ${partly} with some, `
      + `${picks.length - graded - partly} without. The picks are in ${this.file}. `
      + "Backspace shows the last sheet."
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
      this.remind("Keep or drop this latent first: press k or x.")
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
    const grade = Object.keys(this.grades)[Number(key) - 1]
    if (grade) return () => this.grade(this.property, grade)
    if (this.reasons[small]) return () => this.change({ chosen: 0, reason: this.reasons[small] })
    return {
      " ": () => this.advance(), "backspace": () => this.back(), "n": () => this.note.focus(),
      "k": () => this.change({ chosen: 1, reason: null }), "x": () => this.change({ chosen: 0 }),
      "+": () => this.enlarge(1), "=": () => this.enlarge(1), "-": () => this.enlarge(-1),
    }[small]
  }
}

export default shown(Sheets)
