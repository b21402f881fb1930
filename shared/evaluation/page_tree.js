// Adds the accessibility tree to a page's reader: one node a line, two spaces deeper than its
// parent. Roles: W3C, HTML Accessibility API Mappings, section 3.5. Names: W3C, Accessible Name
// and Description Computation 1.2, section 4.3. The browser's own tree is not asked: it answers
// for one element at a time, in milliseconds each, or for all of them without saying which.
({ tools }) => {
  const { body, childrenOf, drawnIn, visible, role, fold, cut, idOf, SILENT, limits } = tools;

  const FROM_CONTENTS = new Set(["button", "cell", "checkbox", "columnheader", "gridcell", "heading",
    "link", "menuitem", "menuitemcheckbox", "menuitemradio", "option", "radio", "row", "rowheader",
    "switch", "tab", "tooltip", "treeitem"]);
  // What these contain is in their names, and need not be said twice.
  const WHOLE = new Set(["button", "checkbox", "heading", "link", "menuitem", "menuitemcheckbox",
    "menuitemradio", "option", "radio", "switch", "tab", "tooltip"]);
  // Their titles describe them, and are no names.
  const UNNAMED = new Set(["caption", "code", "definition", "emphasis", "generic", "label", "none",
    "paragraph", "presentation", "strong", "term"]);
  const PLAIN = new Set(["generic", "none", "presentation", "label"]);
  const VALUED = new Set(["textbox", "searchbox", "combobox", "spinbutton", "slider", "listbox"]);
  const LABELLED = ["INPUT", "SELECT", "TEXTAREA", "METER", "PROGRESS", "OUTPUT"];
  const CAPTIONS = { FIELDSET: "legend", TABLE: "caption", FIGURE: "figcaption" };
  const STATES = ["expanded", "selected", "pressed", "checked", "current", "sort", "valuenow"];

  const referenced = (el, attribute) => (el.getAttribute(attribute) || "").split(/\s+/)
    .map((id) => id && el.getRootNode().getElementById?.(id)).filter(Boolean);

  const isSilent = (el) => SILENT.has(el.tagName) && !["OPTION", "OPTGROUP"].includes(el.tagName);

  const contents = (el, budget) => {
    const words = [];
    for (const node of childrenOf(el)) {
      if (budget.letters <= 0) break;
      if (node.nodeType === Node.TEXT_NODE) {
        words.push(node.data);
        budget.letters -= node.data.length;
      } else if (node.nodeType === Node.ELEMENT_NODE && !isSilent(node) && node !== budget.owner &&
        node.getAttribute("aria-hidden") !== "true") {
        const style = getComputedStyle(node);
        if (style.display === "none" || style.visibility !== "visible") continue;
        const said = nameOf(node, budget, true);
        words.push(style.display.startsWith("inline") ? said : ` ${said} `);
      } else if (node.nodeName === "BR") {
        words.push(" ");
      }
    }
    return words.join("");
  };

  // `within` the name of another element, everything is named by what it contains at last.
  const nameOf = (el, budget, within) => {
    budget.letters -= 1;
    if (!within) {
      const said = referenced(el, "aria-labelledby");
      if (said.length) return said.map((each) => nameOf(each, budget, true)).join(" ");
    }
    const label = el.getAttribute("aria-label");
    if (label && label.trim()) return label;
    const tag = el.tagName;
    if (within && (tag === "INPUT" || tag === "TEXTAREA") &&
      !["checkbox", "radio", "submit", "button", "reset", "image"].includes(el.type)) return el.value;
    if (within && tag === "SELECT") return [...el.selectedOptions].map((o) => o.label).join(" ");
    if (LABELLED.includes(tag)) {
      // A control in its own label is no part of its name.
      if (!within) budget.owner = el;
      const labels = [...(el.labels || [])].map((each) => contents(each, budget));
      if (labels.some((each) => each.trim())) return labels.join(" ");
    }
    if (tag === "INPUT") {
      if (["submit", "button", "reset"].includes(el.type)) {
        const usual = { submit: "Submit", reset: "Reset" }[el.type] || "";
        return el.getAttribute("value") ?? (usual || el.title);
      }
      if (el.type === "image") return el.alt || el.title || "Submit";
      return el.title || el.placeholder || "";
    }
    if (tag === "TEXTAREA") return el.title || el.placeholder || "";
    if (tag === "IMG" || tag === "AREA") return el.getAttribute("alt") ?? el.title;
    if (tag === "OPTION" || tag === "OPTGROUP") return el.label;
    if (el instanceof SVGElement) {
      const title = el.querySelector(":scope > title");
      if (title) return title.textContent;
    }
    const caption = CAPTIONS[tag] && el.querySelector(`:scope > ${CAPTIONS[tag]}`);
    if (caption) return contents(caption, budget);
    if (within || FROM_CONTENTS.has(roleOf(el))) {
      const said = contents(el, budget);
      if (said.trim()) return said;
    }
    return typeof el.title === "string" && !UNNAMED.has(roleOf(el)) ? el.title : "";
  };

  const SECTIONS = "article, aside, main, nav, section";
  const roleOf = (el) => {
    const said = (el.getAttribute("role") || "").trim().split(/\s+/)[0];
    if (said) return said;
    const named = el.hasAttribute("aria-label") || el.hasAttribute("aria-labelledby");
    switch (el.tagName) {
      case "HEADER": return el.closest(SECTIONS) ? "generic" : "banner";
      case "FOOTER": return el.closest(SECTIONS) ? "generic" : "contentinfo";
      case "SECTION": return named ? "region" : "generic";
      case "FORM": return named ? "form" : "generic";
      case "IMG": return el.getAttribute("alt") === "" ? "none" : "img";
      case "INPUT": return el.type === "checkbox" || !el.list ? role(el) : "combobox";
      case "TH": return el.scope === "row" ? "rowheader" : "columnheader";
      default: return MORE_ROLES[el.tagName] || role(el);
    }
  };
  const MORE_ROLES = { MAIN: "main", NAV: "navigation", ASIDE: "complementary", ARTICLE: "article",
    DIALOG: "dialog", FIELDSET: "group", DETAILS: "group", OPTGROUP: "group", OPTION: "option",
    PROGRESS: "progressbar", METER: "meter", OUTPUT: "status", HR: "separator", FIGURE: "figure",
    THEAD: "rowgroup", TBODY: "rowgroup", TFOOT: "rowgroup", MENU: "list", DT: "term",
    DD: "definition", BLOCKQUOTE: "blockquote", CODE: "code", EM: "emphasis", STRONG: "strong",
    SEARCH: "search", TIME: "time", CAPTION: "caption", LEGEND: "legend" };

  const states = (el, is) => {
    const said = [];
    if (/^H[1-6]$/.test(el.tagName)) said.push(`level ${el.tagName[1]}`);
    for (const state of STATES) {
      const value = el.getAttribute(`aria-${state}`);
      if (value === "true") said.push(state);
      else if (value === "false" && state === "expanded") said.push("collapsed");
      else if (value && value !== "false") said.push(`${state} ${fold(value, 40)}`);
    }
    if (["checkbox", "radio"].includes(el.type) && el.checked) said.push("checked");
    if (el.tagName === "OPTION" && el.selected) said.push("selected");
    if (el.tagName === "DETAILS" && el.open) said.push("open");
    if (el.disabled === true || el.getAttribute("aria-disabled") === "true") said.push("disabled");
    if (el.readOnly === true) said.push("read-only");
    if (el.required === true) said.push("required");
    if (VALUED.has(is) && typeof el.value === "string" && el.value !== "") {
      const value = el.tagName === "SELECT"
        ? [...el.selectedOptions].map((option) => option.label).join(", ") : el.value;
      const kept = el.type === "password" ? "•".repeat(el.value.length) : value;
      said.push(`value ${JSON.stringify(fold(kept, limits.attribute))}`);
    }
    if (el === document.activeElement && el !== body()) said.push("focused");
    return said;
  };

  tools.drawn.tree = (hidden) => {
    const lines = [];
    let letters = 0;
    let visited = 0;
    const say = (depth, line) => {
      lines.push("  ".repeat(Math.min(depth, 40)) + line);
      letters += lines.at(-1).length + 1;
    };
    const path = [{ nodes: body() ? [body()] : [], at: 0, depth: 0, whole: false }];
    while (path.length && letters < limits.tree && visited < limits.visited) {
      const top = path.at(-1);
      if (top.at >= top.nodes.length) { path.pop(); continue; }
      const node = top.nodes[top.at];
      top.at += 1;
      visited += 1;
      if (node.nodeType === Node.TEXT_NODE) {
        if (top.whole || !/\S/.test(node.data)) continue;
        if (top.shown ??= drawnIn(top.parent)) {
          say(top.depth, `text ${JSON.stringify(fold(node.data, limits.elementText))}`);
        }
        continue;
      }
      if (node.nodeType !== Node.ELEMENT_NODE || hidden.has(node) || isSilent(node) ||
        node.getAttribute("aria-hidden") === "true" || node.inert) continue;
      const listed = node.tagName === "OPTION" || node.tagName === "OPTGROUP";
      const drawn = listed || visible(node);
      if (!drawn && getComputedStyle(node).display === "none") continue;
      const is = roleOf(node);
      let { depth, whole } = top;
      if (drawn && node !== body() && !whole) {
        const name = fold(nameOf(node, { letters: limits.elementText }, false), limits.elementText);
        const own = name && PLAIN.has(is) && node.hasAttribute("aria-label");
        if (!PLAIN.has(is) || own) {
          const number = listed ? [] : [`[${idOf(node)}]`];
          const words = [...number, is, ...(name ? [JSON.stringify(name)] : []), ...states(node, is)];
          say(depth, words.join(" "));
          depth += 1;
          whole = Boolean(name) && WHOLE.has(is);
        }
      } else if (drawn && whole && ["INPUT", "SELECT", "TEXTAREA", "BUTTON"].includes(node.tagName)) {
        // A control in the label of another is still one that can be used.
        say(depth, [`[${idOf(node)}]`, is, ...states(node, is)].join(" "));
      }
      if (node.tagName === "TEXTAREA" || node.tagName === "svg") continue;
      path.push({ nodes: childrenOf(node), at: 0, depth, whole, parent: node });
    }
    const cutOff = letters >= limits.tree ? "\n… the rest is cut off" : "";
    return cut(lines.join("\n"), limits.tree) + cutOff;
  };
}
