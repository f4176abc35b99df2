// Shared by all widgets; the modules that need it follow this text.

const NO_KERNEL = "Waiting for the kernel: if it was restarted, run the widget's cell again."

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
