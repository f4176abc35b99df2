// The browser's side of the Explorer: it asks for one image at a time and shows the newest.

const LABELS = { hair_color: "hair color", hair_length: "hair length", hairstyle: "curls",
  background_mean: "background", background_std: "background texture" }
const WIDTH = 384 // CSS pixels: the image is enlarged by a whole number up to this
const BAR = 3 // standard deviations at the end of a bar

function field(name, control) {
  control.setAttribute("aria-label", name)
  return make("label", { className: "ox-field" }, make("span", { textContent: name }), control)
}

function select(entries) {
  const element = make("select")
  for (const [value, text] of entries) element.append(make("option", { value, textContent: text }))
  return element
}

const url = (bytes, type = "image/png") => URL.createObjectURL(new Blob([bytes], { type }))

/** The meters' bars below one image. */
class Bars {
  constructor(meters) {
    this.meters = meters
    this.element = make("div", { className: "ox-bars", role: "img" })
    this.rows = new Map()
  }

  row(property) {
    if (!this.rows.has(property)) {
      const bars = this.meters.map((name, n) => make("i", { className: `ox-bar ox-${n % 6}` }))
      const row = make("div", { className: "ox-row" },
        make("span", { textContent: LABELS[property] ?? property }),
        make("div", { className: "ox-track" }, ...bars))
      this.rows.set(property, bars)
      this.element.append(row)
    }
    return this.rows.get(property)
  }

  show(reading) {
    this.element.hidden = !Object.keys(reading).length
    const said = []
    for (const [n, meter] of this.meters.entries()) {
      for (const [property, value] of Object.entries(reading[meter] ?? {})) {
        const bar = this.row(property)[n]
        const share = Math.min(1, Math.abs(value ?? 0) / BAR) * 50
        bar.style.left = `${value < 0 ? 50 - share : 50}%`
        bar.style.width = `${share}%`
        bar.title = `${meter}: ${value === null ? "no face" : value.toFixed(2)}`
        said.push(`${property} ${bar.title}`)
      }
    }
    this.element.setAttribute("aria-label", said.join("; "))
  }
}

/** One image with its bars. */
class View {
  constructor(size, meters) {
    const times = Math.max(1, Math.floor(WIDTH / size))
    this.canvas = make("canvas", { width: size * times, height: size * times, tabIndex: 0 })
    this.canvas.setAttribute("role", "slider")
    this.caption = make("figcaption")
    this.bars = new Bars(meters)
    this.element = make("figure", { className: "ox-view" }, this.canvas, this.caption,
      this.bars.element)
  }

  async show(bytes, reading) {
    const image = await createImageBitmap(new Blob([bytes], { type: "image/png" }))
    const context = this.canvas.getContext("2d")
    context.imageSmoothingQuality = "high"
    context.drawImage(image, 0, 0, this.canvas.width, this.canvas.height)
    image.close()
    this.bars.show(reading)
  }
}

class Explorer {
  constructor(model, el) {
    this.model = model
    this.options = model.get("options")
    this.state = structuredClone(model.get("state"))
    this.number = model.get("answered") // of the last request
    this.waiting = false // for an answer
    this.changed = null // time of the oldest change that no request has
    this.latencies = []
    this.build(el)
    this.listen()
    this.adopt()
    this.show().then(() => { this.root.ariaBusy = String(this.waiting) })
  }

  // ---- The page

  build(el) {
    const { options } = this
    const methods = Object.keys(options.sliders)
    const groups = [...new Set(options.groups)].sort()
    this.group = select([["", "all"], ...groups.map((name) => [name, name])])
    this.face = select([])
    this.method = select(methods.map((name) => [name, name]))
    this.other = select([["", "nothing"], ...methods.map((name) => [name, name])])
    this.truncation = this.slider("truncation", 0, 1, 0.05)
    this.meters = make("input", { type: "checkbox" })
    this.classes = make("input", { type: "checkbox" })
    const bar = make("div", { className: "ox-bar-top" }, field("face", this.face),
      ...(groups.length > 1 ? [field("group", this.group)] : []),
      field("method", this.method), ...(methods.length > 1 ? [field("compare with", this.other)] : []),
      ...(options.meters.length ? [field("meters", this.meters)] : []),
      ...(options.parser ? [field("class map", this.classes)] : []))
    this.explained = make("div", { className: "ox-explained" })
    this.legend = make("div", { className: "ox-legend" }, ...options.meters.map((name, n) =>
      make("span", {}, make("i", { className: `ox-${n % 6}` }), name)))
    this.views = [0, 1].map(() => new View(options.size, options.meters))
    this.sliders = new Map(Object.entries(options.ranges).map(([name, [low, high]]) =>
      [name, this.slider(LABELS[name] ?? name, low, high, 0.05)]))
    this.reset = make("button", { textContent: "Reset" })
    const panel = make("div", { className: "ox-panel" },
      ...[...this.sliders.values(), this.truncation].map((one) => one.element), this.reset)
    this.message = make("div", { className: "ox-message" })
    this.message.setAttribute("role", "status")
    this.speed = make("div", { className: "ox-speed" })
    this.code = make("code", { tabIndex: 0, role: "group", ariaLabel: "Python code" })
    this.copy = make("button", { textContent: "Copy as Python" })
    this.root = make("div", { className: "ox-root" }, bar,
      make("div", { className: "ox-main" },
        make("div", { className: "ox-faces" }, ...this.views.map((view) => view.element)),
        make("div", {}, panel, this.legend, this.speed, this.explained)),
      this.animation(), make("div", { className: "ox-code" }, this.code, this.copy), this.message)
    // Keys pressed here are not JupyterLab's commands: ← and → would fold headings.
    this.root.onkeydown = (event) => event.stopPropagation()
    el.append(this.root)
  }

  slider(name, low, high, step) {
    const input = make("input", { type: "range", min: low, max: high, step, data: { name } })
    const number = make("output"), only = make("small")
    input.setAttribute("aria-label", name)
    const element = make("label", { className: "ox-slider" },
      make("span", {}, `${name} `, only), input, number)
    return { input, number, only, element }
  }

  animation() {
    this.add = make("button", { textContent: "Add keyframe" })
    this.strip = make("span", { className: "ox-strip" })
    this.seconds = make("input", { type: "number", min: 0.1, max: 10, step: 0.1, value: 1 })
    this.seconds.setAttribute("aria-label", "seconds from one keyframe to the next")
    this.saves = this.options.formats.map((kind) =>
      make("button", { textContent: `Save ${kind.toUpperCase()}`, data: { kind } }))
    this.saved = make("span", { className: "ox-saved", role: "status" })
    this.progress = make("progress", { ariaLabel: "progress of the animation", hidden: true })
    return make("div", { className: "ox-animation" }, this.add, this.strip,
      make("label", {}, this.seconds, " s each"), ...this.saves, this.progress, this.saved)
  }

  // ---- What the user does

  listen() {
    for (const [name, { input }] of this.sliders)
      input.addEventListener("input", () => this.set(name, input.valueAsNumber))
    this.truncation.input.addEventListener("input", () =>
      this.change({ truncation: this.truncation.input.valueAsNumber }))
    this.face.onchange = () => this.change({ face: +this.face.value })
    this.group.onchange = () => {
      this.listFaces()
      this.change({ face: +this.face.value })
    }
    this.method.onchange = () => this.change({ method: this.method.value })
    this.other.onchange = () => this.change({ other: this.other.value })
    this.meters.onchange = () => this.change({ meters: this.meters.checked })
    this.classes.onchange = () => this.change({ classes: this.classes.checked })
    this.reset.onclick = () => this.change({ values: {}, truncation: 1 })
    this.add.onclick = () => this.model.send({ do: "keyframe" })
    for (const button of this.saves)
      button.onclick = () => this.model.send(
        { do: "save", format: button.dataset.kind, seconds: this.seconds.valueAsNumber })
    this.copy.onclick = () => this.copyCode()
    for (const view of this.views) this.turnable(view.canvas)
    this.listeners = [
      ["change:answered", () => this.answer()],
      ["change:message", () => this.tell(this.model.get("message"))],
      ["change:thumbnails", () => this.showKeyframes()],
      ["change:saved", () => this.showSaved()],
    ]
    for (const [event, listener] of this.listeners) this.model.on(event, listener)
  }

  /** Dragging a face turns the head; a larger pose turns it to the left of the image. */
  turnable(canvas) {
    const [low, high] = this.options.ranges.pose
    let from = null
    canvas.onpointerdown = (event) => {
      if (event.button) return
      canvas.setPointerCapture(event.pointerId)
      from = { x: event.clientX, pose: this.state.values.pose ?? 0 }
    }
    canvas.onpointermove = (event) => {
      if (from) this.set("pose",
        from.pose - (event.clientX - from.x) / canvas.clientWidth * (high - low))
    }
    canvas.onlostpointercapture = () => { from = null }
    canvas.onkeydown = (event) => {
      const step = { ArrowLeft: 0.25, ArrowRight: -0.25, Home: 0 }[event.key]
      if (step === undefined) return
      event.preventDefault()
      this.set("pose", step ? (this.state.values.pose ?? 0) + step : 0)
    }
  }

  set(name, value) {
    const [low, high] = this.options.ranges[name]
    const inside = Math.min(high, Math.max(low, Math.round(value * 100) / 100))
    this.change({ values: { ...this.state.values, [name]: inside } })
  }

  change(part) {
    this.state = { ...this.state, ...part }
    this.changed ??= performance.now()
    this.adopt()
    this.ask()
  }

  async copyCode() {
    try {
      await navigator.clipboard.writeText(this.code.textContent)
      this.tell("Copied.")
    } catch {
      getSelection().selectAllChildren(this.code) // no access to the clipboard: copy by hand
      this.tell("Selected: copy it with Ctrl+C.")
    }
  }

  // ---- Asking the kernel: one request at a time

  ask() {
    if (this.waiting || this.changed === null) return
    this.waiting = true
    this.root.ariaBusy = "true"
    this.asked = this.changed
    this.changed = null
    this.number += 1
    this.model.send({ do: "draw", number: this.number, state: this.state })
    this.patience = setTimeout(() => this.making || this.tell(NO_KERNEL), 5000)
  }

  async answer() {
    clearTimeout(this.patience)
    await this.show()
    this.measure()
    this.waiting = false
    this.root.ariaBusy = String(this.changed !== null)
    this.ask()
  }

  /** How long after the change its image was shown. */
  measure() {
    const now = performance.now()
    this.latencies = [...this.latencies, [now, now - this.asked]].filter(([at]) => at > now - 3000)
    const sorted = this.latencies.map(([, latency]) => latency).sort((a, b) => a - b)
    const span = (now - this.latencies[0][0]) / 1000
    const rate = span > 0.5 ? `, ${((sorted.length - 1) / span).toFixed(1)} images/s` : ""
    this.speed.textContent = `${sorted[sorted.length >> 1].toFixed(0)} ms${rate}`
    this.root.dispatchEvent(new CustomEvent("drawn", { bubbles: true,
      detail: { number: this.model.get("answered"), latency: now - this.asked } }))
  }

  // ---- Showing

  async show() {
    const images = this.model.get("images"), readings = this.model.get("readings")
    const state = this.model.get("state")
    this.views[1].element.hidden = images.length < 2
    this.code.textContent = this.model.get("code")
    for (const [n, bytes] of images.entries()) {
      this.views[n].caption.textContent = n ? state.other : state.method
      await this.views[n].show(bytes, readings[n])
    }
    this.legend.hidden = !state.meters
    this.tell(this.model.get("message"))
    this.showKeyframes()
    this.showSaved()
  }

  /** Set all controls to the state. */
  adopt() {
    const { state, options } = this
    const shown = [state.method, state.other].filter((name) => name)
    for (const [name, { input, number, only, element }] of this.sliders) {
      const moving = shown.filter((method) => options.sliders[method].includes(name))
      input.value = state.values[name] ?? 0
      number.textContent = (+input.value).toFixed(2)
      element.hidden = !moving.length
      only.textContent = moving.length < shown.length ? `${moving[0]} only` : ""
    }
    const which = state.other ? " (left face)" : ""
    this.add.textContent = `Add keyframe${which}`
    this.copy.textContent = `Copy as Python${which}`
    this.truncation.input.value = state.truncation
    this.truncation.number.textContent = state.truncation.toFixed(2)
    this.listFaces()
    this.method.value = state.method
    this.other.value = state.other
    this.explained.replaceChildren(...shown.filter((name) => options.explained[name])
      .map((name) => make("div", {}, make("b", {}, name), `: ${options.explained[name]}`)))
    this.meters.checked = state.meters
    this.classes.checked = state.classes
    const [low, high] = options.ranges.pose
    for (const { canvas } of this.views) {
      canvas.setAttribute("aria-label", "turn the head")
      canvas.setAttribute("aria-valuemin", low)
      canvas.setAttribute("aria-valuemax", high)
      canvas.setAttribute("aria-valuenow", state.values.pose ?? 0)
    }
  }

  listFaces() {
    const numbers = this.options.groups.map((_, n) => n)
      .filter((n) => !this.group.value || this.options.groups[n] === this.group.value)
    if (numbers.join() !== this.listed) {
      this.listed = numbers.join()
      this.face.replaceChildren(...numbers.map((n) => make("option", { value: n, textContent: n })))
    }
    this.face.value = numbers.includes(this.state.face) ? this.state.face : numbers[0]
  }

  showKeyframes() {
    const thumbnails = this.model.get("thumbnails")
    if (thumbnails === this.shownKeyframes) return
    this.shownKeyframes = thumbnails
    const focused = [...this.strip.children].indexOf(document.activeElement)
    for (const image of this.strip.querySelectorAll("img")) URL.revokeObjectURL(image.src)
    this.strip.replaceChildren(...thumbnails.map((bytes, place) => {
      const button = make("button", { className: "ox-keyframe", title: "remove this keyframe" },
        make("img", { src: url(bytes), alt: `keyframe ${place + 1}`, width: 48, height: 48 }))
      button.setAttribute("aria-label", `remove keyframe ${place + 1}`)
      button.onclick = () => this.model.send({ do: "remove", place })
      return button
    }))
    this.allowSaving()
    if (focused >= 0) (this.strip.children[focused] ?? this.add).focus()
  }

  allowSaving() {
    const few = this.model.get("thumbnails").length < 2
    for (const button of this.saves) button.disabled = few || this.making
  }

  /** What becomes of the last animation: how far it is, where it is and how it looks, or what was
   * wrong. */
  showSaved() {
    const saved = this.model.get("saved")
    if (saved === this.shownSaved) return
    this.shownSaved = saved
    const { said = "", made, of, kind, bytes } = saved
    this.making = of !== undefined
    this.progress.hidden = !this.making
    if (this.making) Object.assign(this.progress, { max: of, value: made })
    this.allowSaving()
    if (this.preview) URL.revokeObjectURL(this.preview)
    this.preview = bytes && url(bytes, kind === "mp4" ? "video/mp4" : `image/${kind}`)
    const shown = bytes ? [make(kind === "mp4" ? "video" : "img", { src: this.preview,
      alt: "The animation", width: 96, height: 96, muted: true, loop: true, autoplay: true })] : []
    this.saved.replaceChildren(...shown, said)
  }

  tell(text) {
    this.message.textContent = text
  }

  close() {
    clearTimeout(this.patience)
    for (const [event, listener] of this.listeners) this.model.off(event, listener)
  }
}

export default {
  render({ model, el }) {
    const explorer = new Explorer(model, el)
    return () => explorer.close()
  },
}
