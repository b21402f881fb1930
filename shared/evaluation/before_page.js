// Runs before any script of a page. Pins the clock, so that a page that looks at it is the same
// for the same seed; notes who listens for clicks, so that bare shapes can be told from
// decoration; and notes what is asked of the server and which windows are opened, so that one
// knows when the page is at rest. What it knows is handed over once through `key`, which only
// the episode knows. What it stands in for says of itself that it is native code, as it was.
({ key, epoch }) => {
  const RealDate = Date;
  // It stands still until the episode starts and ticks from then on: animations need a clock.
  // A frame has no start of its own.
  let started = window === window.top ? null : performance.now();
  const now = () => epoch + (started === null ? 0 : Math.floor(performance.now() - started));
  const instead = (target, apply) => new Proxy(target, { apply });
  window.Date = new Proxy(RealDate, {
    construct: (target, args, made) => Reflect.construct(target, args.length ? args : [now()], made),
    apply: () => new RealDate(now()).toString(),
    get: (target, name) => (name === "now" ? now : Reflect.get(target, name)),
  });
  RealDate.prototype.constructor = window.Date;

  const notes = { opened: 0, hovering: new WeakSet() };
  const clickable = new WeakSet();
  const kinds = new Set(["click", "mousedown", "mouseup", "dblclick", "pointerdown"]);
  const hovering = new Set(["mouseover", "mouseenter", "mousemove", "pointerover", "pointerenter",
    "pointermove"]);
  const listen = EventTarget.prototype.addEventListener;
  EventTarget.prototype.addEventListener = instead(listen, (target, self, args) => {
    if (kinds.has(args[0]) && self instanceof Element) clickable.add(self);
    if (hovering.has(args[0])) notes.hovering.add(self ?? window);
    return Reflect.apply(target, self, args);
  });
  if (window !== window.top) return;

  const requests = new Map();
  const begin = () => {
    const request = {};
    requests.set(request, performance.now());
    return () => requests.delete(request);
  };
  window.fetch = instead(window.fetch, (target, self, args) => {
    const end = begin();
    const answer = Reflect.apply(target, self, args);
    answer.then(end, end);
    return answer;
  });
  XMLHttpRequest.prototype.send = instead(XMLHttpRequest.prototype.send, (target, self, args) => {
    Reflect.apply(listen, self, ["loadend", begin(), { once: true }]);
    return Reflect.apply(target, self, args);
  });

  window.open = instead(window.open, (target, self, args) => {
    notes.opened += 1;
    return Reflect.apply(target, self, args);
  });

  Object.defineProperty(window, key, {
    configurable: true,
    enumerable: false,
    value: {
      clickable, requests, notes, stringify: JSON.stringify,
      startClock: () => { started = performance.now(); },
    },
  });
}
