// Shared by Labeler and Picker; their modules follow this text.

/** The kernel's side: `ask(kind, data)` resolves to its reply, or rejects with its one-line error. */
class Kernel {
  constructor(model, onPush) {
    this.model = model
    this.waiting = new Map()
    this.session = Math.random() // several views of a widget share a model
    this.count = 0
    this.listener = (reply, buffers) => {
      if (reply.id === undefined) return onPush(reply)
      const [session, number] = reply.id
      const request = this.waiting.get(number)
      if (session !== this.session || !request) return
      this.waiting.delete(number)
      if (reply.error) request.reject(new Error(reply.error))
      else request.resolve({ ...reply, buffers })
    }
    model.on("msg:custom", this.listener)
  }

  ask(kind, data = {}) {
    const number = this.count++
    return new Promise((resolve, reject) => {
      this.waiting.set(number, { resolve, reject })
      this.model.send({ kind, id: [this.session, number], ...data })
    })
  }

  close() {
    this.model.off("msg:custom", this.listener)
  }
}

/** Decoded images by number: asked for once, the last `most` kept. */
class Pictures {
  constructor(kernel, most) {
    this.kernel = kernel
    this.most = most
    this.kept = new Map() // number -> promise of an <img>
  }

  get(numbers) {
    const missing = numbers.filter((number) => !this.kept.has(number))
    if (missing.length) {
      const reply = this.kernel.ask("images", { numbers: missing })
      missing.forEach((number, at) =>
        this.kept.set(number, reply.then(({ buffers }) => this.decoded(number, buffers[at])))
      )
      reply.catch(() => missing.forEach((number) => this.kept.delete(number)))
    }
    const found = numbers.map((number) => this.kept.get(number))
    for (const number of numbers) { // the ones used last are kept longest
      const picture = this.kept.get(number)
      this.kept.delete(number)
      this.kept.set(number, picture)
    }
    while (this.kept.size > this.most) this.kept.delete(this.kept.keys().next().value)
    return Promise.all(found)
  }

  async decoded(number, bytes) {
    const image = make("img", { alt: "", draggable: false })
    const url = URL.createObjectURL(new Blob([bytes]))
    image.src = url
    try {
      await image.decode()
    } catch {
      throw new Error(`image ${number} cannot be read as an image: create the image set again`)
    } finally {
      URL.revokeObjectURL(url)
    }
    return image
  }
}

/** Seconds that a person worked; a pause counts for `PAUSE` seconds at most. */
class Stopwatch {
  constructor() {
    this.seconds = 0
    this.last = performance.now()
  }

  tick() {
    const PAUSE = 30
    const now = performance.now()
    this.seconds += Math.min((now - this.last) / 1000, PAUSE)
    this.last = now
    return this.seconds
  }
}

/** Undo and redo of changes; a change is anything that `apply(change, forward)` understands. */
class History {
  constructor(apply) {
    this.apply = apply
    this.done = []
    this.undone = []
  }

  add(change) {
    this.done.push(change)
    this.undone = []
    this.apply(change, true)
  }

  undo() {
    const change = this.done.pop()
    if (change) this.undone.push(change), this.apply(change, false)
  }

  redo() {
    const change = this.undone.pop()
    if (change) this.done.push(change), this.apply(change, true)
  }
}

/** Wait for a reply, and say so if it takes long. */
async function patiently(promise, report, text) {
  let slow = false
  const timer = setTimeout(() => { slow = true; report(text) }, 3000)
  try {
    return await promise
  } finally {
    clearTimeout(timer)
    if (slow) report("")
  }
}

/** After the next frame is on the screen. */
const painted = () =>
  new Promise((done) => requestAnimationFrame(() => setTimeout(done)))

const HISTORY = { u: "undo", r: "redo" } // besides Ctrl+Z and Ctrl+Y
const LEAST = 480 // CSS pixels: height of the widget even if the window is lower

/** A view that shows something page by page (a `thing`), takes a person's answers, and saves them.
 *
 * It is never higher than the window: what is larger scrolls in `view`. What has not been on the
 * screen is not saved: `advance()` first scrolls to it.
 *
 * A view adds: `begin()` draws what the kernel's reply to `open` (now properties) describes;
 * `apply(change, forward)` makes or takes back a change; `update()` brings the screen up to date;
 * `target()` is the element that gets the keys; `parts()` are the elements of `view` that must be
 * seen before they are saved, and `below(parts)` says which are not, in words; `sizes()` is how many sizes there are;
 * `action(key)` is what a key does; `next()` and `back()` are what the buttons do.
 */
class Answers {
  constructor(model, el, name, thing) {
    this.thing = thing
    this.size = 0
    this.unseen = []
    this.status = make("div", { className: "oa-status", role: "status" })
    this.problem = make("div", { className: "oa-problem", role: "alert", hidden: true })
    this.reminder = make("div", { className: "oa-reminder", role: "alert", hidden: true })
    this.view = make("div", { className: "oa-view", onscroll: () => this.look() })
    this.more = make("div", { className: "oa-more" })
    this.done = make("div", { className: "oa-done", tabIndex: 0, hidden: true })
    this.help = make("p", { className: "oa-help" })
    this.root = make("div", { className: "oa-root", role: "application", ariaLabel: name },
      this.problem)
    // Keys that it gets are not JupyterLab's.
    this.root.dataset.lmSuppressShortcuts = "true"
    for (const kind of ["keydown", "keypress", "keyup"]) {
      this.root.addEventListener(kind, (event) => event.stopPropagation())
    }
    el.append(this.root)
    this.report = (error) => {
      this.problem.hidden = !error
      this.problem.textContent = error ? error.message ?? String(error) : ""
    }
    this.kernel = new Kernel(model, () => this.reorder())
    this.history = new History((change, forward) => this.apply(change, forward))
    this.stopwatch = new Stopwatch()
    this.turned = 0 // seconds until the last save
    this.busy = true
    this.resized = () => { this.fit(); this.look() }
  }

  close() {
    this.kernel.close()
    window.removeEventListener("resize", this.resized)
  }

  /** While it is busy, keys and buttons do nothing. */
  set busy(busy) {
    this.root.ariaBusy = String(busy)
  }

  get busy() {
    return this.root.ariaBusy === "true"
  }

  async open() {
    try {
      Object.assign(this, await patiently(this.kernel.ask("open"), this.report, NO_KERNEL))
    } catch (error) {
      return this.report(error)
    }
    this.root.onkeydown = (event) => this.key(event)
    this.root.onclick = (event) => event.target.closest("button") && this.attend()
    await this.begin()
    window.addEventListener("resize", this.resized)
  }

  /** Lay the images with these numbers out as soon as they are there, then fetch those ahead. */
  async present(numbers, lay, ahead = []) {
    const inside = this.active
    this.busy = true
    try {
      lay(await patiently(this.pictures.get(numbers), this.report,
        "Waiting for the kernel's images …"))
      this.fit()
      this.unseen = this.parts()
      this.update()
      this.view.scrollTop = 0
      this.look()
    } catch (error) {
      this.report(error)
    } finally {
      this.busy = false
      if (inside) this.attend()
    }
    await painted()
    this.pictures.get(ahead).catch(this.report)
  }

  /** Save; resolves when the kernel has written it. */
  async send(data) {
    const seconds = Number((this.stopwatch.tick() - this.turned).toFixed(2))
    this.busy = true
    try {
      await patiently(this.kernel.ask("save", { ...data, seconds }), this.report,
        "Not saved yet, as the kernel does not answer. If it was restarted, run the widget's cell "
        + `again: all earlier ${this.thing}s are saved.`)
    } finally {
      this.busy = false
    }
    this.turned = this.stopwatch.seconds
    this.report("")
  }

  act(action) {
    this.stopwatch.tick()
    if (this.busy) return
    this.remind("")
    action()
  }

  /** Say what must be done first, until the next key or click. */
  remind(text) {
    this.reminder.hidden = !text
    this.reminder.textContent = text
  }

  // --- what is on the screen

  /** Whether the keys are the widget's. */
  get active() {
    return this.root.contains(document.activeElement)
  }

  /** Take the keys, and scroll the notebook so that all of the widget can be seen. */
  attend() {
    this.target().focus({ preventScroll: true })
    this.root.scrollIntoView({ block: "nearest" })
  }

  /** As high as the part of the window that shows the notebook. */
  fit() {
    const notebook = this.root.closest(".jp-WindowedPanel-outer") // JupyterLab's
    const height = Math.max(LEAST, (notebook?.clientHeight ?? innerHeight) - 12)
    this.root.style.maxHeight = `${height}px`
  }

  /** Note which parts have been on the screen: at least four fifths of their height. */
  look() {
    const { bottom, height } = this.view.getBoundingClientRect()
    this.unseen = this.unseen.filter((part) => {
      const place = part.getBoundingClientRect()
      return !place.height || place.top + 0.8 * Math.min(place.height, height) > bottom
    })
    const below = this.unseen.length ? this.below(this.unseen) : ""
    this.more.textContent = below && `▼ ${below} not seen yet: space shows them first`
    this.nextText.textContent = below ? " see more" : ` next ${this.thing}`
  }

  /** Scroll to what has not been on the screen; if there is nothing, save and show the next. */
  advance() {
    this.look()
    const [first] = this.unseen
    if (!first) return this.next()
    const [part, view] = [first, this.view].map((one) => one.getBoundingClientRect())
    this.view.scrollTop += part.top - view.top
    this.look()
    return first
  }

  enlarge(by) {
    this.size = Math.max(0, Math.min(this.size + by, this.sizes() - 1))
    this.update()
    this.look()
  }

  button(text, key, action, properties = {}) {
    return make("button", { onclick: () => this.act(action), ariaKeyShortcuts: String(key),
      ...properties }, make("kbd", { ariaHidden: "true" }, key), ` ${text}`)
  }

  /** One of several of which one is chosen. */
  choice(text, key, color, action, properties = {}) {
    const made = this.button(text, key, action,
      { className: "oa-choice", role: "radio", ...properties })
    made.style.setProperty("--mark", color)
    return made
  }

  /** The buttons of both widgets, with those of one between them. */
  bar(choices, ...more) {
    const { thing } = this
    this.nextText = make("span", {}, ` next ${thing}`)
    const next = this.button("", "space", () => this.advance(),
      { title: `Show the rest of this ${thing}; then save it and show the next` })
    next.append(this.nextText)
    this.larger = this.button("larger", "+", () => this.enlarge(1))
    this.smaller = this.button("smaller", "−", () => this.enlarge(-1))
    return make("div", { className: "oa-bar", role: "toolbar", ariaLabel: `${thing}s` }, ...choices,
      make("span", {},
        next,
        this.button("back", "⌫", () => this.back(), { title: `The ${thing} before` }),
        this.button("undo", "u", () => this.history.undo()),
        this.button("redo", "r", () => this.history.redo()),
        ...more, this.larger, this.smaller,
        make("button", { onclick: () => this.root.requestFullscreen() }, "full screen")))
  }

  /** Buttons that would do nothing are disabled. */
  showSizes() {
    this.larger.disabled = this.size >= this.sizes() - 1
    this.smaller.disabled = this.size <= 0
  }

  key(event) {
    if (event.target.tagName === "BUTTON" && (event.key === "Enter" || event.key === " ")) return
    const key = event.key.toLowerCase(), control = event.ctrlKey || event.metaKey
    const redo = key === "y" || (key === "z" && event.shiftKey)
    const step = !control ? HISTORY[key] : redo ? "redo" : key === "z" ? "undo" : null
    const action = step ? () => this.history[step]()
      : control || event.altKey ? null : this.action(event.key)
    if (!action) return
    event.preventDefault()
    this.act(action)
  }
}

/** The module's export: a `View` in each output. */
const shown = (View) => ({
  render({ model, el }) {
    const view = new View(model, el)
    view.open()
    return () => view.close()
  },
})
