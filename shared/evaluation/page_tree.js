// Adds the accessibility tree to a page's reader: one node a line, two spaces deeper than its
// parent, as roles and names are computed by the browser itself (WAI-ARIA, accessible name and
// description computation) where it can be asked.
({ tools }) => {
  const { childrenOf, visible, fold, cut, idOf, SILENT, limits } = tools;
  // These are named by their contents, which need not be said twice.
  const NAMED_BY_CONTENTS = new Set(["button", "link", "heading", "option", "tab", "menuitem",
    "menuitemcheckbox", "menuitemradio", "checkbox", "radio", "switch", "treeitem", "tooltip"]);
  const PLAIN = new Set(["", "none", "generic", "presentation", "StaticText", "Document", "document",
    "LabelText", "Pre", "Section", "DescriptionList"]);
  const WIDGETS = new Set(["textbox", "searchbox", "combobox", "spinbutton", "slider", "listbox"]);
  const STATES = ["expanded", "selected", "pressed", "checked", "current", "sort", "valuenow"];

  const states = (el, role) => {
    const said = [];
    if (/^H[1-6]$/.test(el.tagName)) said.push(`level ${el.tagName[1]}`);
    for (const state of STATES) {
      const value = el.getAttribute(`aria-${state}`);
      if (value !== null && value !== "false") said.push(value === "true" ? state : `${state} ${value}`);
      else if (value !== null && state === "expanded") said.push("collapsed");
    }
    if (["checkbox", "radio"].includes(el.type) && el.checked) said.push("checked");
    if (el.tagName === "DETAILS" && el.open) said.push("open");
    if (el.disabled || el.getAttribute("aria-disabled") === "true") said.push("disabled");
    if (el.readOnly) said.push("read-only");
    if (el.required) said.push("required");
    if (WIDGETS.has(role) && typeof el.value === "string" && el.value !== "") {
      const value = el.tagName === "SELECT"
        ? [...el.selectedOptions].map((option) => option.label).join(", ") : el.value;
      const kept = el.type === "password" ? "•".repeat(el.value.length) : value;
      said.push(`value ${JSON.stringify(fold(kept, limits.attribute))}`);
    }
    if (el.placeholder) said.push(`placeholder ${JSON.stringify(fold(el.placeholder, 80))}`);
    if (el === document.activeElement && el !== document.body) said.push("focused");
    return said;
  };

  tools.drawn.tree = (hidden) => {
    const lines = [];
    let letters = 0;
    const say = (depth, line) => {
      lines.push("  ".repeat(Math.min(depth, 40)) + line);
      letters += lines.at(-1).length + 1;
    };
    const path = [{ nodes: document.body ? [document.body] : [], at: 0, depth: 0, told: "" }];
    let visited = 0;
    while (path.length && letters < limits.tree && visited < limits.visited) {
      const top = path.at(-1);
      if (top.at >= top.nodes.length) { path.pop(); continue; }
      const node = top.nodes[top.at];
      top.at += 1;
      visited += 1;
      if (node.nodeType === Node.TEXT_NODE) {
        const text = fold(node.data, limits.elementText);
        if (text && !top.told.includes(text) && (top.shown ??= visible(top.parent))) {
          say(top.depth, `text ${JSON.stringify(text)}`);
        }
        continue;
      }
      if (node.nodeType !== Node.ELEMENT_NODE || hidden.has(node)) continue;
      if ((SILENT.has(node.tagName) && !["OPTION", "OPTGROUP"].includes(node.tagName)) ||
        node.getAttribute("aria-hidden") === "true" || node.inert) continue;
      const drawn = visible(node);
      if (!drawn && getComputedStyle(node).display === "none") continue;
      const role = node.computedRole ?? node.getAttribute("role") ?? "";
      const name = drawn ? fold(node.computedName ?? node.getAttribute("aria-label") ?? "",
        limits.elementText) : "";
      let { depth, told } = top;
      if (drawn && node !== document.body && (!PLAIN.has(role) || (name && !top.told.includes(name)))) {
        const words = [`[${idOf(node)}]`, role || "generic"];
        if (name) words.push(JSON.stringify(name));
        say(depth, [...words, ...states(node, role)].join(" "));
        depth += 1;
        if (name && NAMED_BY_CONTENTS.has(role)) told = name;
      }
      if (node.tagName === "TEXTAREA" || node.tagName === "svg") continue;
      path.push({ nodes: childrenOf(node), at: 0, depth, told, parent: node });
    }
    const cutOff = letters >= limits.tree ? "\n… the rest is cut off" : "";
    return cut(lines.join("\n"), limits.tree) + cutOff;
  };
}
