// Notes what a page holds at the very moment its problem is made, before any timer or animation
// has moved on. Boxes and fonts are left out: they are the machine's.
() => {
  // Libraries that lay out these by the size of letters, and the attributes that they write.
  const MEASURED = ".ui-accordion-content, #divWheel svg *";
  const LAYOUT = new Set(["style", "x", "y", "dy", "d", "transform"]);
  const describe = (node) => {
    if (node.nodeType === Node.TEXT_NODE) return node.data.replace(/\s+/g, " ").trim();
    const measured = node.matches(MEASURED);
    const attributes = [...node.attributes].filter(({ name }) => !(measured && LAYOUT.has(name)))
      .map(({ name, value }) => [name, value]).sort();
    const state = ["input", "textarea", "select"].includes(node.localName)
      ? [node.value, Boolean(node.checked)] : [];
    const children = [...node.childNodes]
      .filter((child) => child.nodeType === Node.TEXT_NODE || (child.nodeType ===
        Node.ELEMENT_NODE && !["script", "style", "canvas"].includes(child.localName)))
      .map(describe).filter((child) => child !== "");
    return [node.localName, attributes, state, children];
  };
  const start = core.startEpisodeReal;
  core.startEpisodeReal = () => {
    start();
    window.pageAtStart = JSON.stringify(describe(document.getElementById("wrap")));
  };
}
