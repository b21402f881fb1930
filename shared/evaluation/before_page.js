// Runs before any script of a page. Pins the clock, so that a page that looks at it is the same
// for the same seed, and notes who listens for clicks, so that bare shapes can be told from
// decoration. What it knows is handed over once through `key`, which only the episode knows.
({ key, epoch }) => {
  const RealDate = Date;
  let started = null;
  // It stands still until the episode starts and ticks from then on: animations need a clock.
  const now = () => epoch + (started === null ? 0 : Math.floor(performance.now() - started));
  window.Date = new Proxy(RealDate, {
    construct: (target, args, made) => Reflect.construct(target, args.length ? args : [now()], made),
    apply: () => new RealDate(now()).toString(),
    get: (target, name) => (name === "now" ? now : Reflect.get(target, name)),
  });
  RealDate.prototype.constructor = window.Date;

  const clickable = new WeakSet();
  const kinds = new Set(["click", "mousedown", "mouseup", "dblclick", "pointerdown"]);
  const listen = EventTarget.prototype.addEventListener;
  EventTarget.prototype.addEventListener = function addEventListener(kind, ...rest) {
    if (kinds.has(kind) && this instanceof Element) clickable.add(this);
    return listen.call(this, kind, ...rest);
  };

  Object.defineProperty(window, key, {
    configurable: true,
    enumerable: false,
    value: { clickable, startClock: () => { started = performance.now(); } },
  });
}
