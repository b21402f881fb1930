// Makes the reader of one document: what can be seen, and where it can be touched. The reader
// lives in a handle of the episode's side; no script of the page can reach it or its ids.
({ key, unseen, limits }) => {
  const before = window[key];
  const { clickable, requests, notes, stringify } = before ||
    { clickable: new WeakSet(), requests: new Map(), notes: { opened: 0, hovering: new WeakSet() },
      stringify: JSON.stringify };
  if (before) {
    before.startClock();
    delete window[key];
  }

  const ids = new WeakMap();
  const known = new Map();
  let nextId = 1;

  const idOf = (el) => {
    if (!ids.has(el)) {
      ids.set(el, nextId);
      known.set(nextId, new WeakRef(el));
      nextId += 1;
    }
    return ids.get(el);
  };
  const byId = (id) => {
    const el = known.has(id) ? known.get(id).deref() : undefined;
    return el && el.isConnected ? el : undefined;
  };

  const CONTROLS = "a, button, input, select, textarea, summary, label, [contenteditable=''], " +
    "[contenteditable=true], [tabindex], [onclick], [onmousedown], [draggable=true]";
  const ROLES = new Set(["button", "link", "checkbox", "radio", "tab", "menuitem", "option",
    "menuitemcheckbox", "menuitemradio", "textbox", "searchbox", "combobox", "slider",
    "spinbutton", "switch", "treeitem", "gridcell"]);
  const SHAPES = new Set(["circle", "ellipse", "rect", "line", "polygon", "polyline", "path",
    "text", "tspan", "image", "use"]);
  const SILENT = new Set(["SCRIPT", "STYLE", "NOSCRIPT", "TEMPLATE", "HEAD", "META", "LINK",
    "TITLE", "BR", "WBR", "OPTION", "OPTGROUP", "HR"]);
  const ATTRIBUTES = ["id", "class", "name", "type", "href", "placeholder", "title", "alt", "for",
    "src", "min", "max", "step", "maxlength", "pattern", "contenteditable", "readonly",
    "draggable", "fill", "stroke", "x", "y", "width", "height", "cx", "cy", "r", "rx", "ry",
    "x1", "y1", "x2", "y2", "points", "transform", "colspan", "rowspan", "style"];
  const INPUT_ROLES = { button: "button", submit: "button", reset: "button", image: "button",
    checkbox: "checkbox", radio: "radio", range: "slider", number: "spinbutton",
    search: "searchbox" };
  const TAG_ROLES = { BUTTON: "button", TEXTAREA: "textbox", SUMMARY: "button", LI: "listitem",
    UL: "list", OL: "list", IMG: "img", TABLE: "table", TR: "row", TD: "cell",
    TH: "columnheader", LABEL: "label", P: "paragraph", FORM: "form", NAV: "navigation",
    H1: "heading", H2: "heading", H3: "heading", H4: "heading", H5: "heading", H6: "heading" };

  // A cut may fall into the middle of a character, and half of one cannot be stored.
  const cut = (text, limit) => text.slice(0, limit).toWellFormed();
  const fold = (text, limit) => cut(text.slice(0, 20 * limit).replace(/\s+/g, " ").trim(), limit);
  const round = (value) => Math.round(value * 10) / 10;
  const roundBox = (r) => [round(r.x), round(r.y), round(r.width), round(r.height)];

  // The fields of a form, and the images of a document, stand before what it has itself: one that
  // is named "body" is document.body. Such a form is no element, and what is in it is read.
  const getter = (kind, name) => {
    const { get } = Object.getOwnPropertyDescriptor(kind.prototype, name);
    return (node) => get.call(node);
  };
  const bodyOf = getter(Document, "body");
  const body = () => bodyOf(document);
  const childNodes = getter(Node, "childNodes");
  const USED = ["attributes", "checkVisibility", "childElementCount", "getAttribute",
    "getBoundingClientRect", "getClientRects", "hasAttribute", "hasAttributes", "innerText",
    "isConnected", "isContentEditable", "labels", "matches", "nodeType", "parentElement",
    "parentNode", "assignedSlot", "shadowRoot", "tagName", "textContent"];
  const isMasked = (node) =>
    node instanceof HTMLFormElement && USED.some((name) => Object.hasOwn(node, name));

  const { checkVisibility } = Element.prototype;
  const visible = (el) => checkVisibility.call(el, { checkVisibilityCSS: true });
  const hasBox = (rect) => rect.width > 0 && rect.height > 0;
  const ownText = (el) => {
    for (const child of el.childNodes) {
      if (child.nodeType === Node.TEXT_NODE && /\S/.test(child.data)) return true;
    }
    return false;
  };

  const role = (el) => {
    const said = el.getAttribute("role");
    if (said) return cut(said, limits.attribute);
    const tag = el.tagName;
    if (tag === "A") return el.hasAttribute("href") ? "link" : "generic";
    if (tag === "INPUT") return INPUT_ROLES[el.type] || "textbox";
    if (tag === "SELECT") return el.multiple || el.size > 1 ? "listbox" : "combobox";
    if (el instanceof SVGElement) return SHAPES.has(tag) ? "graphic" : "img";
    if (el.isContentEditable) return "textbox";
    return TAG_ROLES[tag] || "generic";
  };

  const interactive = (el, style) => {
    if (el.matches(CONTROLS) || ROLES.has(el.getAttribute("role")) || clickable.has(el)) return true;
    if (style.cursor !== "pointer") return false;
    // The cursor is inherited: the text in a button is no button.
    const parent = el.parentElement;
    return !parent || getComputedStyle(parent).cursor !== "pointer" || el.tagName === "LI";
  };

  const label = (el) => {
    const said = el.getAttribute("aria-label");
    if (said) return said;
    if (el.labels && el.labels.length) return el.labels[0].innerText;
    if (["submit", "button", "reset"].includes(el.type)) return el.value;
    const sibling = el.previousElementSibling;
    if (sibling && sibling.tagName === "LABEL") return sibling.innerText;
    const previous = el.previousSibling;
    return previous && previous.nodeType === Node.TEXT_NODE ? previous.data : "";
  };

  const describe = (el, rect, canAct) => {
    const tag = cut(el.tagName.toLowerCase(), limits.attribute);
    const attributes = {};
    for (const name of el.hasAttributes() ? ATTRIBUTES : []) {
      const value = el.getAttribute(name);
      if (value !== null) attributes[name] = cut(value, limits.attribute);
    }
    const aria = [...el.attributes].filter(({ name }) => name.startsWith("aria-"));
    for (const { name, value } of aria.slice(0, limits.aria)) {
      attributes[cut(name, limits.attribute)] = cut(value, limits.attribute);
    }
    const control = ["input", "select", "textarea"].includes(tag);
    const text = control ? label(el) : el.innerText ?? el.textContent;
    const found = {
      id: idOf(el), tag, role: role(el), text: fold(text || "", limits.elementText), attributes,
      interactive: canAct, box: roundBox(rect),
      disabled: Boolean(el.disabled) || el.getAttribute("aria-disabled") === "true",
    };
    if (tag === "select") {
      const options = [...el.options].slice(0, limits.options);
      found.options = options.map((option) => fold(option.label, limits.attribute));
      found.value = [...el.selectedOptions].map((o) => fold(o.label, limits.attribute)).join(", ");
    } else if (["checkbox", "radio"].includes(el.type) && tag === "input") {
      found.checked = el.checked;
    } else if (control) {
      found.value = cut(el.value, limits.value);
    } else if (el.isContentEditable) {
      found.value = cut(el.innerText, limits.value);
    }
    if (el.hasAttribute("aria-checked")) found.checked = el.getAttribute("aria-checked") === "true";
    if (el.hasAttribute("aria-selected")) found.selected = el.getAttribute("aria-selected") === "true";
    return found;
  };

  // What is drawn in `node`: its shadow instead of its children, and in a slot what is put there.
  const childrenOf = (node) => {
    if (isMasked(node)) return childNodes(node);
    if (node.shadowRoot) return node.shadowRoot.childNodes;
    const given = node.tagName === "SLOT" ? node.assignedNodes() : [];
    return given.length ? given : node.childNodes;
  };
  const parentOf = (node) => node.assignedSlot || node.parentElement ||
    (node.parentNode instanceof ShadowRoot ? node.parentNode.host : null);

  // Whether text in `el` can be seen: an element may be there without a box of its own.
  const drawnIn = (el) => {
    let at = el;
    while (at && getComputedStyle(at).display === "contents") at = parentOf(at);
    return at !== null && visible(at) && getComputedStyle(el).visibility === "visible";
  };

  const observe = (firstId, parts) => {
    nextId = firstId;
    const hidden = new Set(unseen ? document.querySelectorAll(unseen) : []);
    const found = [];
    const words = [];
    let letters = 0;
    let visited = 0;
    const look = (node, among) => {
      if (isMasked(node)) return getComputedStyle(node).display !== "none";
      if (node.nodeType === Node.TEXT_NODE) {
        if (letters < limits.text && /\S/.test(node.data) &&
          (among.drawn ??= drawnIn(parentOf(node)))) {
          const word = fold(node.data, limits.text);
          words.push(word);
          letters += word.length + 1;
        }
        return false;
      }
      if (node.nodeType !== Node.ELEMENT_NODE || hidden.has(node) || SILENT.has(node.tagName)) {
        return false;
      }
      // `display: contents` and an invisible parent of visible children have no box either.
      if (!visible(node)) return getComputedStyle(node).display !== "none";
      const rect = node.getBoundingClientRect();
      const shape = node instanceof SVGElement && SHAPES.has(node.tagName);
      if (!hasBox(rect) && !shape) return true;
      const canAct = interactive(node, getComputedStyle(node));
      const leaf = node.childElementCount === 0 && !node.shadowRoot;
      if (canAct || shape || leaf || ownText(node)) found.push([node, rect, canAct]);
      return true;
    };
    // No recursion: some pages are nested deeper than the stack is.
    const path = [{ nodes: body() ? [body()] : [], at: 0 }];
    while (path.length && visited < limits.visited) {
      const top = path.at(-1);
      if (top.at >= top.nodes.length) { path.pop(); continue; }
      const node = top.nodes[top.at];
      top.at += 1;
      visited += 1;
      if (look(node, top)) path.push({ nodes: childrenOf(node), at: 0 });
    }
    // Where not everything fits, what can be used goes before what can be read.
    let kept = found;
    if (found.length > limits.elements) {
      const useful = found.filter(([, , canAct]) => canAct).slice(0, limits.elements);
      const room = limits.elements - useful.length;
      const rest = new Set(found.filter(([, , canAct]) => !canAct).slice(0, room));
      const chosen = new Set(useful);
      kept = found.filter((entry) => chosen.has(entry) || rest.has(entry));
    }
    const elements = kept.map((entry) => describe(...entry));
    const shown = Object.fromEntries(parts.map((part) => [part, drawn[part](hidden)]));
    return {
      url: cut(location.href, 2000), title: cut(String(document.title), 500),
      text: cut(words.join(" "), limits.text), elements, ...shown,
      domNodes: document.getElementsByTagName("*").length, nextId,
    };
  };

  // What only some agents ask for is added by scripts of its own, as functions of this.
  const drawn = {};
  const tools = { drawn, limits, body, childrenOf, visible, drawnIn, role, fold, cut, interactive, idOf, SILENT };

  let leaving = null;
  navigation.addEventListener("navigate", (event) => {
    const { destination, downloadRequest } = event;
    const goes = !destination.sameDocument && downloadRequest === null &&
      /^https?:/.test(destination.url);
    leaving = goes ? event : null;
  });
  for (const end of ["navigatesuccess", "navigateerror"]) {
    navigation.addEventListener(end, () => { leaving = null; });
  }
  const HERE = new Set(["", "_self", "_top", "_parent"]);
  let opening = null;
  for (const kind of ["click", "submit"]) {
    document.addEventListener(kind, (event) => {
      const opener = event.composedPath().find((el) => ["A", "AREA", "FORM"].includes(el.tagName));
      opening = opener && !HERE.has(opener.target) ? event : null;
    }, true);
  }

  // Resolves when what the last action set off has come to rest: its handlers have run, what
  // they asked the server for is there, and no finite animation is under way. A document that is
  // being left is waited for until it is replaced, which breaks this off. Bounded: some pages
  // never rest. The answer is how many windows were opened.
  const settle = async (limit, leavingLimit) => {
    const began = performance.now();
    const pause = (ms) => new Promise((done) => setTimeout(done, ms));
    const leaves = () => leaving !== null && !leaving.defaultPrevented;
    const moving = () => document.readyState !== "complete" ||
      [...requests.values()].some((since) => since > began - limit) ||
      (window.jQuery && window.jQuery.timers && window.jQuery.timers.length > 0) ||
      document.getAnimations().some((animation) => animation.playState === "running" &&
        animation.effect && Number.isFinite(animation.effect.getComputedTiming().endTime));
    const unrest = () => {
      const waited = performance.now() - began;
      return leaves() ? waited < leavingLimit : moving() && waited < limit;
    };
    await pause(0);
    while (unrest()) {
      await pause(16);
      // What came in from the server is still to be shown by the page's own handlers.
      if (!unrest()) await pause(0);
    }
    const opened = notes.opened + (opening !== null && !opening.defaultPrevented ? 1 : 0);
    notes.opened = 0;
    opening = null;
    return opened;
  };

  const name = (el) => {
    const words = fold(el.innerText || "", 40);
    return `<${el.tagName.toLowerCase()}${el.id ? ` id=${el.id}` : ""}>${words ? ` "${words}"` : ""}`;
  };

  const hitAt = (x, y) => {
    let hit = document.elementFromPoint(x, y);
    for (let inner = hit; inner && inner.shadowRoot;) {
      inner = inner.shadowRoot.elementFromPoint(x, y);
      if (!inner || inner === hit) break;
      hit = inner;
    }
    return hit;
  };
  const isIn = (node, el) => {
    for (let at = node; at; at = parentOf(at)) if (at === el) return true;
    return false;
  };

  // A point at which a click reaches `el` and nothing that lies over it or in it.
  const touchable = (el) => {
    let inside = null;
    let over = null;
    for (const rect of el.getClientRects()) {
      if (!hasBox(rect) && !(el instanceof SVGElement)) continue;
      for (const fy of [0.5, 0.25, 0.75, 0.1, 0.9]) {
        for (const fx of [0.5, 0.25, 0.75, 0.1, 0.9]) {
          const x = rect.x + rect.width * fx;
          const y = rect.y + rect.height * fy;
          if (x < 0 || y < 0 || x >= innerWidth || y >= innerHeight) continue;
          const hit = hitAt(x, y);
          if (hit === el) return { x, y };
          if (hit && isIn(hit, el)) {
            const between = [];
            for (let at = hit; at !== el; at = parentOf(at)) between.push(at);
            const passes = !between.some((at) => interactive(at, getComputedStyle(at)));
            if (!inside || (passes && !inside.passes)) inside = { x, y, passes };
          } else if (hit) {
            over = hit;
          }
        }
      }
    }
    return inside ? { x: inside.x, y: inside.y } : { over };
  };

  const ON_HOVER = ["onmouseover", "onmouseenter", "onmousemove", "onpointerover",
    "onpointerenter", "onpointermove"];
  // What these change stays where it is.
  const PAINT = /^(color|background|border|outline|text-decoration|box-shadow|cursor|fill|stroke)/;
  const moveOnHover = (rules) => [...rules].some((rule) =>
    (rule.selectorText?.includes(":hover") && [...rule.style].some((name) => !PAINT.test(name))) ||
    (rule.cssRules && moveOnHover(rule.cssRules)));
  let sheets = -1;
  let styled = false;
  const styledOnHover = () => {
    if (document.styleSheets.length !== sheets) {
      sheets = document.styleSheets.length;
      styled = [...document.styleSheets].some((sheet) => {
        // The rules of another origin cannot be read; they may be anything.
        try { return moveOnHover(sheet.cssRules); } catch { return true; }
      });
    }
    return styled;
  };
  // Whether the page can answer to the pointer over `el` by more than another colour.
  const hovers = (el) => {
    const answers = (at) => notes.hovering.has(at) || ON_HOVER.some((name) => at[name]);
    if (answers(window) || answers(document) || styledOnHover()) return true;
    for (let at = el; at; at = parentOf(at)) if (answers(at)) return true;
    return false;
  };

  // Where to press once the pointer is at (x, y) and the page has seen it there: the element may
  // have moved on. What has taken its place is what a user would press.
  const afterHover = async (id, x, y) => {
    await settle(300, 300);
    const el = byId(id);
    if (!el || isIn(hitAt(x, y), el)) return { x, y };
    const at = touchable(el);
    return at.x === undefined ? { x, y } : at;
  };

  const point = (id) => {
    const el = byId(id);
    if (!el) return { unknown: true };
    if (!visible(el)) return { error: `element ${id} is not visible` };
    if (el.disabled) return { error: `element ${id} is disabled` };
    let at = touchable(el);
    if (at.x === undefined) {
      el.scrollIntoView({ block: "center", inline: "nearest", behavior: "instant" });
      at = touchable(el);
    }
    if (at.x !== undefined) return { ...at, hovers: hovers(el) };
    return { error: at.over ? `element ${id} is covered by ${name(at.over)}`
      : `element ${id} has no point that can be clicked` };
  };

  // Where to drop `dragged`: what it covers itself does not count, and an outline, which has no
  // point of its own to click, can be dropped into where nothing lies over it.
  const dropPoint = (id, dragged) => {
    const el = byId(id);
    const moved = byId(dragged);
    if (!el || !moved || !visible(el)) return point(id);
    const free = () => {
      const rect = el.getBoundingClientRect();
      for (const fy of [0.5, 0.25, 0.75]) {
        for (const fx of [0.5, 0.25, 0.75]) {
          const x = rect.x + rect.width * fx;
          const y = rect.y + rect.height * fy;
          if (x < 0 || y < 0 || x >= innerWidth || y >= innerHeight) continue;
          const hit = document.elementsFromPoint(x, y).find((at) => !isIn(at, moved));
          if (hit && (isIn(hit, el) || isIn(el, hit))) return { x, y };
        }
      }
      return null;
    };
    const here = free();
    if (here) return here;
    const scrolledTo = point(id);
    return free() || scrolledTo;
  };

  const PICKED = { date: "YYYY-MM-DD", time: "HH:MM", month: "YYYY-MM", week: "YYYY-Www",
    "datetime-local": "YYYY-MM-DDTHH:MM", color: "#rrggbb", range: "a number in its range" };
  const UNTYPED = new Set(["checkbox", "radio", "button", "submit", "reset", "image", "file"]);

  const changed = (el) => {
    el.dispatchEvent(new Event("input", { bubbles: true, composed: true }));
    el.dispatchEvent(new Event("change", { bubbles: true }));
  };

  // Leaves `el` focused with its contents selected, ready for keys; picker inputs are set here.
  const fill = (id, text) => {
    const el = byId(id);
    if (!el) return { unknown: true };
    const typed = el.tagName === "TEXTAREA" ||
      (el.tagName === "INPUT" && !UNTYPED.has(el.type));
    if (!typed && !el.isContentEditable) {
      return { error: `element ${id} is ${name(el)} and cannot be filled` };
    }
    if (el.disabled) return { error: `element ${id} is disabled` };
    if (el.readOnly) return { error: `element ${id} is read-only` };
    if (!visible(el)) return { error: `element ${id} is not visible` };
    el.scrollIntoView({ block: "nearest", inline: "nearest", behavior: "instant" });
    el.focus();
    if (typed && PICKED[el.type]) {
      const earlier = el.value;
      el.value = text;
      if (el.value.toLowerCase() !== text.toLowerCase()) {
        el.value = earlier;
        return { error: `element ${id} is a ${el.type} input and takes ${PICKED[el.type]}` };
      }
      changed(el);
      return { done: true };
    }
    if (typed) el.select();
    else getSelection().selectAllChildren(el);
    return {
      empty: typed ? el.value === "" : el.innerText === "",
      oneLine: el.tagName === "INPUT",
      suggests: el.matches(".ui-autocomplete-input, [role=combobox], [aria-autocomplete]"),
    };
  };

  const selectOption = (id, wanted) => {
    const el = byId(id);
    if (!el) return { unknown: true };
    if (el.tagName !== "SELECT") return { error: `element ${id} is ${name(el)}, not a select` };
    if (el.disabled) return { error: `element ${id} is disabled` };
    const options = [...el.options];
    const option = options.find((o) => fold(o.label, 1000) === wanted) ||
      options.find((o) => o.value === wanted);
    if (!option || option.disabled) {
      const labels = options.slice(0, 20).map((o) => fold(o.label, 50)).join(", ");
      return { error: `element ${id} has no such option; it has: ${labels}` };
    }
    el.focus();
    option.selected = true;
    changed(el);
    return { done: true };
  };

  const focus = (id) => {
    const el = byId(id);
    if (!el) return { unknown: true };
    if (document.activeElement !== el) {
      el.focus();
      // Where a user's click after the text would put the caret; null where there is none.
      if (typeof el.selectionStart === "number") {
        el.setSelectionRange(el.value.length, el.value.length);
      }
    }
    return { done: true };
  };

  const scroll = (id, dy) => {
    let el = id === null ? null : byId(id);
    if (el === undefined) return { unknown: true };
    const scrolls = (at) => at.scrollHeight > at.clientHeight &&
      !["visible", "hidden", "clip"].includes(getComputedStyle(at).overflowY);
    while (el && !scrolls(el)) el = el.parentElement;
    (el || document.scrollingElement).scrollBy({ top: dy, behavior: "instant" });
    return { done: true };
  };

  // Old libraries give arrays and strings a `toJSON` of their own, which says something else.
  const spelled = (value) => {
    const theirs = [Object, Array, String, Number, Boolean]
      .map(({ prototype }) => [prototype, Object.getOwnPropertyDescriptor(prototype, "toJSON")])
      .filter(([prototype, found]) => found && delete prototype.toJSON);
    try {
      return stringify(value);
    } finally {
      for (const [prototype, found] of theirs) Object.defineProperty(prototype, "toJSON", found);
    }
  };
  const questions = { observe, settle, point, afterHover, dropPoint, fill, selectOption, focus,
    scroll };
  // As text: a thousand small values one by one are a tenth of what a step costs.
  const ask = async (question, given) => {
    const answer = spelled(await questions[question](...given));
    if (typeof answer !== "string" || answer.length > limits.answer) {
      throw new Error("the page is too large to be read");
    }
    return answer;
  };

  return { ask, tools };
}
