// Adds the pruned HTML to a page's reader: no scripts, styles, comments or what is hidden, only
// attributes that say something, and of everything that can be used its id as `element`.
({ tools }) => {
  const { body, childrenOf, visible, drawnIn, fold, cut, interactive, idOf, SILENT, limits } = tools;
  const SAYING = new Set(["id", "class", "name", "type", "href", "src", "alt", "title", "for",
    "placeholder", "role", "value", "min", "max", "step", "pattern", "maxlength", "required",
    "readonly", "disabled", "checked", "selected", "multiple", "contenteditable", "draggable",
    "colspan", "rowspan", "action", "method", "target", "lang", "datetime", "open"]);
  const VOID = new Set(["input", "img", "br", "hr", "wbr", "area", "col", "embed", "source"]);
  const ENTITIES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  const escaped = (text) => text.replace(/[&<>"]/g, (sign) => ENTITIES[sign]);

  const attributes = (el) => {
    const said = [];
    for (const { name, value } of el.attributes) {
      if (!SAYING.has(name) && !name.startsWith("aria-")) continue;
      if (/^\s*(javascript|data):/i.test(value)) continue;
      if (["value", "checked", "selected"].includes(name)) continue;
      said.push(value === "" ? name : `${name}="${escaped(fold(value, limits.attribute))}"`);
    }
    // As they are now, not as they were written.
    if (["INPUT", "BUTTON"].includes(el.tagName) && el.value && el.type !== "password") {
      said.push(`value="${escaped(fold(el.value, limits.attribute))}"`);
    }
    if (el.tagName === "INPUT" && el.checked) said.push("checked");
    if (el.tagName === "OPTION" && el.selected) said.push("selected");
    return said;
  };

  tools.drawn.dom = (hidden) => {
    const out = [];
    let letters = 0;
    let visited = 0;
    const say = (text) => { out.push(text); letters += text.length; };
    const path = [{ nodes: body() ? [body()] : [], at: 0, end: "", open: true }];
    while (path.length && letters < limits.dom && visited < limits.visited) {
      const top = path.at(-1);
      if (top.at >= top.nodes.length) { say(top.end); path.pop(); continue; }
      const node = top.nodes[top.at];
      top.at += 1;
      visited += 1;
      if (node.nodeType === Node.TEXT_NODE) {
        const text = cut(node.data.replace(/\s+/g, " "), limits.text);
        if (text && (text !== " " || out.at(-1) !== " ") && (top.seen ??= drawnIn(top.parent))) {
          say(escaped(text));
        }
        continue;
      }
      if (node.nodeType !== Node.ELEMENT_NODE || hidden.has(node)) continue;
      const listed = ["OPTION", "OPTGROUP", "BR", "HR", "WBR"].includes(node.tagName);
      if (SILENT.has(node.tagName) && !listed) continue;
      const drawn = listed || visible(node);
      const style = getComputedStyle(node);
      if (!drawn && style.display === "none") continue;
      const tag = node.tagName.toLowerCase();
      const said = attributes(node);
      const usable = drawn && !listed && interactive(node, style);
      if (usable) said.unshift(`element="${idOf(node)}"`);
      // A box that says nothing is left out, and what is in it is not.
      const bare = !drawn || (!said.length && (tag === "div" || tag === "span" || tag.includes("-")));
      if (!bare) say(`<${[tag, ...said].join(" ")}>`);
      if (tag === "svg" && !usable) { say("</svg>"); continue; }
      if (VOID.has(tag)) continue;
      if (tag === "textarea") { say(`${escaped(fold(node.value, limits.value))}</textarea>`); continue; }
      path.push({ nodes: childrenOf(node), at: 0, end: bare ? "" : `</${tag}>`,
        parent: node, seen: listed || undefined });
    }
    const cutOff = letters >= limits.dom ? "\n<!-- the rest is cut off -->" : "";
    return cut(out.join("").replace(/ {2,}/g, " ").trim(), limits.dom) + cutOff;
  };
}
