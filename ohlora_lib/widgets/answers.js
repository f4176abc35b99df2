// Shared by Labeler and Picker; their modules follow this text.

/** make("div", {className: "x", ariaLabel: "y", onclick: f}, child, ...) -> an element */
function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(properties)) {
    if (name === "data") Object.assign(made.dataset, value)
    else made[name] = value
  }
  made.append(...children)
  return made
}

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
    return Boolean(change)
  }

  redo() {
    const change = this.undone.pop()
    if (change) this.done.push(change), this.apply(change, true)
    return Boolean(change)
  }
}

/** "undo", "redo" or "" for a keyboard event. */
function historyKey(event) {
  const key = event.key.toLowerCase()
  if (!(event.ctrlKey || event.metaKey)) return { u: "undo", r: "redo" }[key] ?? ""
  return key === "y" || (key === "z" && event.shiftKey) ? "redo" : key === "z" ? "undo" : ""
}

/** The root of a widget: keys that it gets are not JupyterLab's, and problems have one line. */
function rootOf(el, label) {
  const status = make("div", { className: "oa-status", role: "status" })
  const problem = make("div", { className: "oa-problem", role: "alert", hidden: true })
  const root = make("div", { className: "oa-root", role: "application", ariaLabel: label })
  root.dataset.lmSuppressShortcuts = "true"
  for (const kind of ["keydown", "keypress", "keyup"]) {
    root.addEventListener(kind, (event) => event.stopPropagation())
  }
  el.append(root)
  const report = (error) => {
    problem.hidden = !error
    problem.textContent = error ? error.message ?? String(error) : ""
  }
  return { root, status, problem, report }
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
