class Grid extends Answers {
  constructor(model, el) {
    super(model, el, "Labeler", "page")
    this.page = 0
    this.focus = 0 // position on the page
    this.property = 0
    this.single = false
    this.answers = new Map() // number -> labels, saved or not
    this.finished = 0 // faces on the pages finished since the widget was opened
  }

  async begin() {
    this.hintOf = new Map(this.hints)
    this.saved = new Map(this.saved.map(([number, ...labels]) => [number, labels]))
    this.saved.forEach((labels, number) => this.answers.set(number, [...labels]))
    this.savedDoubts = new Set(this.doubtful)
    this.doubtful = new Set(this.doubtful)
    this.pictures = new Pictures(this.kernel, 4 * this.per_page)
    this.paginate(0)
    this.draw()
    const first = this.pages.findIndex((page) => page.some((number) => !this.saved.has(number)))
    this.page = first < 0 ? this.pages.length : first
    await this.show()
  }

  /** Divide the numbers from page `first` on into pages. */
  paginate(first) {
    const rest = this.numbers.slice(first * this.per_page)
    this.pages = this.pages?.slice(0, first) ?? []
    for (let at = 0; at < rest.length; at += this.per_page) {
      this.pages.push(rest.slice(at, at + this.per_page))
    }
  }

  /** The kernel has sorted the images that are not labeled: the pages after this one change. */
  async reorder() {
    const { numbers } = await this.kernel.ask("open")
    const fixed = this.numbers.slice(0, (this.page + 1) * this.per_page)
    const known = new Set(fixed)
    this.numbers = [...fixed, ...numbers.filter((number) => !known.has(number))]
    this.paginate(Math.min(this.page + 1, this.pages.length))
    this.showStatus()
  }

  get shown() {
    return this.pages[this.page] ?? []
  }

  labels(number) {
    if (!this.answers.has(number)) this.answers.set(number, this.questions.map((q) => q.usual))
    return this.answers.get(number)
  }

  exceptional(number, property) {
    return this.labels(number)[property] !== this.questions[property].usual
  }

  /** What an exception of a property is called. */
  word(property) {
    const { words, usual } = this.questions[property]
    return words[1 - usual]
  }

  words(number) {
    return this.labels(number).map((label, at) => this.questions[at].words[label])
  }

  // --- drawing

  draw() {
    this.toggles = this.questions.map(({ name, key }, at) =>
      this.choice(this.word(at), key, this.colors[at], () => this.choose(at),
        { title: `Mark exceptions of ${name} (key ${key})` }))
    const choices = make("span", { role: "radiogroup", ariaLabel: "What a click marks" },
      ...this.toggles)
    const bar = this.bar([choices],
      this.button("one face", "f", () => this.toggleSingle(), { title: "One face at a time" }),
      this.button("doubtful", "d", () => this.doubt(),
        { title: "Mark the face in focus as doubtful" }))
    this.grid = make("div", { className: "oa-grid", role: "group" })
    this.marquee = make("div", { className: "oa-marquee", hidden: true })
    this.marks = make("b")
    this.task = make("div", { className: "oa-task" },
      make("span", { className: "oa-idle" },
        "Click a face to start. This first click marks nothing; then all keys are the widget's."),
      make("span", { className: "oa-working" }, "A click marks ", this.marks,
        " or takes it back. Unmarked faces are "
        + `${this.questions.map(({ words, usual }) => words[usual]).join(", ")}.`),
      this.status)
    this.view.append(this.grid)
    this.root.prepend(bar, this.task)
    this.root.append(this.view, this.more, this.done, this.help, this.marquee)
    this.grid.onpointerdown = (event) => this.press(event)
  }

  /** Show this page as soon as its images are there. */
  show() {
    return this.present(this.shown, (images) => this.grid.replaceChildren(
      ...this.shown.map((number, at) => this.face(number, at, images[at]))),
      this.pages[this.page + 1])
  }

  face(number, at, image) {
    const cell = make("div", {
      className: "oa-face", role: "checkbox", data: { number, at },
      onfocus: () => { this.focus = at; this.rove() },
    }, image, make("div", { className: "oa-marks" }))
    if (this.hintOf.has(number)) {
      cell.append(make("div", { className: "oa-hint" }, this.hintOf.get(number)))
    }
    return cell
  }

  /** Bring all that is on the screen up to date. */
  update() {
    const { root } = this
    const list = this.steps()
    this.focus = Math.max(0, Math.min(this.focus, this.shown.length - 1))
    root.classList.toggle("oa-single", this.single)
    const size = this.grid.querySelector("img")?.naturalWidth ?? 128
    const zoom = this.size + 1 // 1: native size
    const times = this.single ? Math.max(zoom, Math.floor(512 / size)) : zoom
    this.grid.style.setProperty("--face", `${size * times}px`)
    this.grid.ariaLabel = `Page ${this.page + 1}: mark ${this.questions[this.property].name}`
    for (const cell of this.grid.children) {
      const number = Number(cell.dataset.number)
      const marks = this.questions.flatMap((_, at) =>
        this.exceptional(number, at)
          ? [make("span", { data: { property: at } }, this.word(at))] : [])
      marks.forEach((mark) => mark.style.setProperty("--mark", this.colors[mark.dataset.property]))
      if (this.doubtful.has(number)) marks.push(make("span", { className: "oa-doubt" }, "?"))
      cell.querySelector(".oa-marks").replaceChildren(...marks)
      const marked = this.exceptional(number, this.property)
      cell.ariaChecked = String(marked)
      cell.ariaLabel = `Face ${number}: ${this.words(number).join(", ")}`
        + (this.doubtful.has(number) ? ", doubtful" : "")
      cell.classList.toggle("oa-marked", marked)
      cell.style.setProperty("--mark", this.colors[this.property])
      cell.hidden = this.single && Number(cell.dataset.at) !== this.focus
    }
    this.toggles.forEach((one, at) => { one.ariaChecked = String(at === this.property) })
    this.marks.textContent = this.word(this.property)
    this.marks.style.setProperty("--mark", this.colors[this.property])
    this.done.hidden = this.page < this.pages.length
    this.task.classList.toggle("oa-over", !this.done.hidden)
    this.view.hidden = this.more.hidden = this.help.hidden = !this.done.hidden
    this.done.textContent = `All ${this.numbers.length.toLocaleString("en")} faces are labeled: `
      + `${this.counts()}. The labels are in ${this.file}. Backspace shows the last page.`
    this.help.textContent = this.single
      ? `${this.words(this.shown[this.focus]).map((word, at) => `${at + 1} ${word}`).join(" · ")}`
        + ` — 1 to 4 change these · space, → next face · backspace, ← face before · Esc all faces · face ${list.indexOf(this.focus) + 1} of `
        + `${list.length}${this.doubtfulHere().length ? " doubtful ones" : ""}`
      : "g q a s choose what is marked · click, drag or Enter marks faces · arrows move · "
        + "1–4 change the face in focus · f one face, d doubtful"
    this.rove()
    this.showSizes()
    this.showStatus()
  }

  /** Only the face in focus can be reached by Tab. */
  rove() {
    for (const cell of this.grid.children) {
      cell.tabIndex = Number(cell.dataset.at) === this.focus ? 0 : -1
    }
  }

  parts() {
    return [...this.grid.children].filter((cell) => !this.saved.has(Number(cell.dataset.number)))
  }

  below(faces) {
    return `${faces.length} face${faces.length > 1 ? "s" : ""} below`
  }

  sizes() {
    return 4
  }

  target() {
    return this.grid.children[this.shown.length ? this.focus : -1] ?? this.done
  }

  /** How many saved faces have each unusual label. */
  counts() {
    const saved = [...this.saved.values()]
    return this.questions.map(({ usual }, at) =>
      `${saved.filter((labels) => labels[at] !== usual).length} ${this.word(at)}`).join(", ")
  }

  showStatus() {
    const all = this.numbers.length
    const here = Math.min(this.page + 1, this.pages.length)
    let text = `Page ${here} of ${this.pages.length} · ${this.saved.size.toLocaleString("en")} of `
      + `${all.toLocaleString("en")} faces saved`
    if (this.finished) { // the speed on the pages that are finished
      const rate = (this.finished * this.questions.length * 60) / this.turned
      const left = ((all - this.saved.size) * this.questions.length) / rate
      text += ` · ${Math.round(rate).toLocaleString("en")} answers/min`
      if (left) text += ` · about ${Math.ceil(left)} min left`
    }
    this.status.textContent = text
  }

  // --- answers

  apply({ changes = [], doubt, page }, forward) {
    for (const { number, property, before, after } of changes) {
      this.labels(number)[property] = forward ? after : before
    }
    if (doubt !== undefined && !this.doubtful.delete(doubt)) this.doubtful.add(doubt)
    if (page !== this.page) this.go(page)
    else this.update()
  }

  /** Set one property of some faces. */
  mark(numbers, property, value) {
    const changes = numbers
      .map((number) => ({ number, property, before: this.labels(number)[property], after: value }))
      .filter(({ before, after }) => before !== after)
    if (changes.length) this.history.add({ changes, page: this.page })
  }

  toggle(at, property = this.property) {
    const number = this.shown[at]
    if (number !== undefined) this.mark([number], property, 1 - this.labels(number)[property])
  }

  choose(property) {
    this.property = property
    this.update()
  }

  doubt() {
    const number = this.shown[this.focus]
    if (number !== undefined) this.history.add({ doubt: number, page: this.page })
  }

  // --- pages

  unsaved() {
    return this.shown.filter((number) => {
      const saved = this.saved.get(number)
      return !saved || saved.some((label, at) => label !== this.labels(number)[at])
        || this.savedDoubts.has(number) !== this.doubtful.has(number)
    })
  }

  /** Save the page; the next one is shown only when the kernel has written this one. */
  async save() {
    const numbers = this.shown
    const rows = numbers.map((number) => [number, ...this.labels(number)])
    await this.send({ rows, doubtful: numbers.filter((number) => this.doubtful.has(number)) })
    this.finished += numbers.filter((number) => !this.saved.has(number)).length
    rows.forEach(([number, ...labels]) => {
      this.saved.set(number, labels)
      this.savedDoubts[this.doubtful.has(number) ? "add" : "delete"](number)
    })
  }

  advance() {
    if (this.single) this.toggleSingle()
    const shown = super.advance()
    if (shown instanceof Element) shown.focus({ preventScroll: true })
  }

  async next() {
    if (this.page >= this.pages.length) return
    const start = performance.now()
    try {
      if (this.unsaved().length) await this.save()
    } catch (error) {
      return this.report(error)
    }
    await this.turn(this.page + 1)
    performance.measure("labeler page", { start, end: performance.now() })
  }

  back() {
    return this.go(this.page - 1)
  }

  /** Another page; changes of a page that was saved before are saved. */
  async go(page) {
    if (page < 0 || page > this.pages.length) return
    const unsaved = this.unsaved()
    try {
      if (unsaved.length && unsaved.every((number) => this.saved.has(number))) await this.save()
    } catch (error) {
      this.report(error)
    }
    await this.turn(page)
  }

  turn(page) {
    this.page = page
    this.focus = 0
    this.single = false
    return this.show()
  }

  // --- one face at a time

  doubtfulHere() {
    return this.shown.map((number, at) => (this.doubtful.has(number) ? at : -1))
      .filter((at) => at >= 0)
  }

  /** Positions that the single-face mode visits. */
  steps() {
    const doubtful = this.doubtfulHere()
    return doubtful.length ? doubtful : this.shown.map((_, at) => at)
  }

  toggleSingle() {
    if (!this.shown.length) return
    this.single = !this.single
    if (this.single && this.doubtfulHere().length) this.focus = this.steps()[0]
    this.update()
    this.view.scrollTop = 0
    this.attend()
    this.look()
  }

  stepFace(by) {
    const list = this.steps()
    const next = list[list.indexOf(this.focus) + by]
    if (next === undefined && by > 0) return this.toggleSingle()
    this.focus = next ?? this.focus
    this.update()
    this.attend()
    this.look()
  }

  // --- keys and pointer

  action(key) {
    const property = this.questions.findIndex((question) => question.key === key.toLowerCase())
    if (property >= 0) return () => this.choose(property)
    if (/^[1-4]$/.test(key)) return () => this.toggle(this.focus, Number(key) - 1)
    const single = {
      " ": () => this.stepFace(1), "Enter": () => this.stepFace(1),
      "ArrowRight": () => this.stepFace(1), "ArrowLeft": () => this.stepFace(-1),
      "Backspace": () => this.stepFace(-1), "Escape": () => this.toggleSingle(),
    }
    const columns = this.columns()
    const all = {
      " ": () => this.advance(), "Backspace": () => this.back(),
      "Enter": () => this.toggle(this.focus),
      "ArrowRight": () => this.move(1), "ArrowLeft": () => this.move(-1),
      "ArrowDown": () => this.move(columns), "ArrowUp": () => this.move(-columns),
      "Home": () => this.move(-this.focus), "End": () => this.move(this.shown.length),
    }
    const both = {
      "f": () => this.toggleSingle(), "d": () => this.doubt(),
      "+": () => this.enlarge(1), "=": () => this.enlarge(1), "-": () => this.enlarge(-1),
    }
    return both[key.toLowerCase()] ?? (this.single ? single : all)[key]
  }

  columns() {
    const tops = [...this.grid.children].map((cell) => cell.offsetTop)
    return tops.filter((top) => top === tops[0]).length || 1
  }

  move(by) {
    const to = Math.max(0, Math.min(this.focus + by, this.shown.length - 1))
    if (Math.abs(by) > 1 && to !== this.focus + by && Math.abs(by) === this.columns()) return
    this.grid.children[to]?.focus()
  }

  place(event) {
    const cell = event.target.closest(".oa-face")
    return cell ? Number(cell.dataset.at) : -1
  }

  /** A click marks a face; a drag marks all faces that its rectangle touches. Neither does if the
   * keys are not the widget's yet: the first click only takes them. */
  press(event) {
    if (event.button !== 0 || this.busy || this.single) return
    event.preventDefault()
    const at = this.place(event), { active } = this
    const [x, y] = [event.clientX, event.clientY]
    let box = null
    const drag = ({ clientX, clientY }) => {
      if (!box && Math.hypot(clientX - x, clientY - y) < 6) return
      box = { left: Math.min(x, clientX), top: Math.min(y, clientY),
        right: Math.max(x, clientX), bottom: Math.max(y, clientY) }
      const origin = this.root.getBoundingClientRect()
      Object.assign(this.marquee.style, {
        left: `${box.left - origin.left}px`, top: `${box.top - origin.top}px`,
        width: `${box.right - box.left}px`, height: `${box.bottom - box.top}px`,
      })
      this.marquee.hidden = false
    }
    const release = () => {
      window.removeEventListener("pointermove", drag)
      window.removeEventListener("pointerup", release)
      this.marquee.hidden = true
      this.stopwatch.tick()
      this.remind("")
      if (at >= 0 && (!active || !box)) this.grid.children[at].focus({ preventScroll: true })
      if (!active) return this.attend()
      if (!box) return this.toggle(at)
      const view = this.view.getBoundingClientRect()
      const top = Math.max(box.top, view.top), bottom = Math.min(box.bottom, view.bottom)
      const touched = [...this.grid.children].filter((cell) => {
        const place = cell.getBoundingClientRect()
        return place.left < box.right && place.right > box.left
          && place.top < bottom && place.bottom > top
      }).map((cell) => Number(cell.dataset.number))
      if (!touched.length) return
      const first = this.shown[at] ?? touched[0]
      this.mark(touched, this.property, 1 - this.labels(first)[this.property])
    }
    window.addEventListener("pointermove", drag)
    window.addEventListener("pointerup", release)
  }
}

export default shown(Grid)
