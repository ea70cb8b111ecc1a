// Timeline and curves: rows with one time axis, a cursor through all of them.
const timeRows = (() => {
  const rows = $("rows"), cursor = $("cursor"), brush = $("brush");
  const drawn = [];
  let left = 0, width = 0;
  const x = time => (time - view.from) / (view.to - view.from) * width;
  const timeAtX = position => view.from + position / width * (view.to - view.from);
  const escape = text => String(text).replace(/[&<>"]/g, c => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);

  function row(kind, label, height, draw, update) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("height", height);
    svg.setAttribute("aria-hidden", "true");
    const element = make("div", { class: "row " + kind }, label, make("div", { class: "plot" }, svg));
    rows.append(element);
    drawn.push({ svg, height, draw, update });
    return element;
  }
  const head = text => rows.append(make("div", { class: "row head" }, make("div", { class: "lab" }, text)));

  // Ticks at round times, wide enough apart.
  function ticks() {
    const steps = [.01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400, 604800];
    const step = steps.find(size => size / (view.to - view.from) * width > 74) || 604800;
    const found = [];
    for (let k = Math.ceil(view.from / step - 1e-9); k * step <= view.to + 1e-9; k++) found.push(k * step);
    return found;
  }
  const grid = height => ticks().map(t => `<line class="grid" x1="${x(t)}" x2="${x(t)}" y1="0" y2="${height}"/>`).join("");
  const inside = (a, b) => b >= view.from && a <= view.to;

  function axis() {
    row("axisrow", make("div", { class: "lab" }), 22, svg => ticks().map(t => {
      const at = x(t), anchor = at < 16 ? "start" : at > width - 20 ? "end" : "middle";
      return `<text x="${at}" y="14" text-anchor="${anchor}">${timeText(t)}</text>`;
    }).join("") + `<line class="axis" x1="0" x2="${width}" y1="21" y2="21"/>`);
  }

  function bar(entry) {
    const name = entry.word + (entry.label ? ` “${entry.label}”` : "");
    const label = make("div", { class: "lab", title: entry.text }, make("span", {}, name),
      make("small", {}, `line ${entry.line}: ${entry.text.replace(/^[^:]*: ?/, "")}`));
    const element = row("lane clickable", label, 32, () => grid(32) + entry.spans.filter(([a, b]) => inside(a, b)).map(([a, b]) => {
      const begin = Math.max(-4, x(a)), end = Math.min(width + 4, x(b)), kind = entry.isOperation ? "work" : "fault";
      const title = `<title>${escape(entry.text)}, ${timeText(a)}${b > a ? " to " + timeText(b) : ""}</title>`;
      return b > a
        ? `<rect class="${kind}" x="${begin}" y="9" width="${Math.max(3, end - begin)}" height="14" rx="3">${title}</rect>`
        : `<rect class="${kind}" x="${begin - 1.25}" y="7" width="2.5" height="18" rx="1">${title}</rect>`;
    }).join(""));
    element.firstChild.addEventListener("click", () => view.go(entry.spans[0][0]));
  }

  function expectation(entry) {
    const isHeld = entry.outcome === "held";
    const mark = isHeld ? "✓" : entry.isGood ? "○" : "✗", color = isHeld ? "--ok" : entry.isGood ? "--muted" : "--bad";
    const label = make("div", { class: "lab", title: `${entry.name}\n${entry.condition}\n${entry.why || ""}` },
      make("span", {}, make("b", { style: `color:var(${color})` }, mark + " "), entry.name),
      make("small", {}, (entry.line ? `line ${entry.line}: ` : "") + entry.condition));
    const element = row("lane clickable", label, 32, () => {
      const title = `<title>${escape(entry.name)}: ${entry.outcome}${entry.decided !== undefined ? ", decided at " + timeText(entry.decided) : ""}\n${escape(entry.why || "")}</title>`;
      const bit = (a, b, kind, y = 10, height = 12) => {
        if (!inside(a, b)) return "";
        // A moment at the very end is drawn before it.
        const begin = Math.max(-4, a === b ? Math.min(width - 3, x(a)) : x(a)), end = Math.min(width + 4, x(b));
        return `<rect class="${kind}" x="${begin}" y="${y}" width="${Math.max(3, end - begin)}" height="${height}" rx="${a === b ? 1 : 3}">${title}</rect>`;
      };
      let text = grid(32);
      if (entry.kind === "at") return text + bit(entry.from, entry.from, isHeld ? "held" : "brokenbar", 6, 20);
      text += bit(entry.from, entry.until, "window");
      if (entry.kind === "within" || entry.kind === "sometimes") {
        if (isHeld) text += bit(entry.from, entry.firstHeld, "waiting") + bit(entry.firstHeld, entry.firstHeld, "held", 6, 20);
        else text += bit(entry.from, entry.decided ?? entry.until, "waiting");
      } else text += bit(entry.from, entry.decided ?? entry.from, "held");
      if (entry.outcome === "broken") text += bit(entry.decided, entry.decided, "brokenbar", 4, 24);
      return text;
    });
    element.firstChild.addEventListener("click", () => view.go(entry.decided ?? entry.until));
  }

  /** One row of curves; `lines` are [series, name, color]. */
  function curve(title, unit, lines, options = {}) {
    const height = 76, top = 8, bottom = 6;
    const shown = lines.filter(([name]) => series[name]);
    const highest = Math.max(0, ...shown.flatMap(([name]) => series[name].filter(isFinite)));
    const values = make("div", { class: "v" });
    const label = make("div", { class: "lab" }, make("span", {}, title), values);
    const update = () => values.replaceChildren(...shown.map(([name, word, color]) => make("span", {},
      make("i", { style: `--c:var(${color})` }), word + " ", make("b", {}, short(series[name][view.sample]) + (isFinite(series[name][view.sample]) ? unit : "")))));
    row("curve", label, height, () => {
      const first = Math.max(0, lastAtMost(times, view.from) - 1), last = Math.min(times.length - 1, lastAtMost(times, view.to) + 1);
      let seen = 0;
      for (const [name] of shown) for (let k = first; k <= last; k++) if (series[name][k] > seen) seen = series[name][k];
      const limit = options.limit || (options.log ? 10 ** Math.ceil(Math.log10(Math.max(10, seen))) : nice(seen || highest || 1));
      // Logarithmic from one on; below, everything is at the floor.
      const share = value => options.log ? Math.log10(Math.max(1, value)) / Math.log10(limit) : value / limit;
      const y = value => top + (1 - share(value)) * (height - top - bottom);
      let text = grid(height);
      for (const cut of D.bars) if (!cut.isOperation) for (const [a, b] of cut.spans) if (b > a && inside(a, b))
        text += `<rect class="shade" x="${Math.max(-4, x(a))}" y="0" width="${Math.min(width + 4, x(b)) - Math.max(-4, x(a))}" height="${height}"/>`;
      const levels = options.log ? [1, ...[...Array(6).keys()].map(k => 10 ** (k + 1)).filter(level => level <= limit)] : [0, limit / 2, limit];
      for (const level of levels) text += `<line class="grid" x1="0" x2="${width}" y1="${y(level)}" y2="${y(level)}"/>`;
      shown.forEach(([name, , color], position) => {
        const points = pointsOf(series[name], first, last, y);
        if (!points) return;
        if (options.area && position === 0) text += `<path d="${area(points, y(0))}" fill="var(${color})" opacity=".14"/>`;
        text += `<path class="line" d="${points}" stroke="var(${color})"/>`;
      });
      text += `<text class="over" x="4" y="${top + 10}">${short(limit)}${unit}</text>`;
      if (options.log) text += `<text class="over" x="4" y="${height - bottom - 3}">${"1" + unit}</text>`;
      return text;
    }, update);
  }
  const nice = value => {
    const power = 10 ** Math.floor(Math.log10(value)), share = value / power;
    return (share <= 1 ? 1 : share <= 2 ? 2 : share <= 5 ? 5 : 10) * power;
  };
  function pointsOf(values, first, last, y) {
    let text = "", open = false;
    for (let k = first; k <= last; k++) {
      if (!isFinite(values[k])) { open = false; continue; }
      text += `${open ? "L" : "M"}${x(times[k]).toFixed(1)} ${y(values[k]).toFixed(1)}`;
      open = true;
    }
    return text;
  }
  const area = (points, floor) => points.split("M").filter(Boolean).map(part => {
    const at = part.split("L").map(point => point.split(" "));
    return `M${at[0][0]} ${floor}L${part}L${at[at.length - 1][0]} ${floor}Z`;
  }).join("");

  axis();
  head("What happens");
  const quiet = [...D.bars].sort((a, b) => a.isOperation - b.isOperation || a.spans[0][0] - b.spans[0][0]);
  quiet.forEach(bar);
  head("What must be true");
  D.expectations.forEach(expectation);
  head("How it went");
  curve("Reachability", " %", [["reach", "peers reached", "--okfill"], ["enrolled", "enrolled", "--c1"]], { limit: 100, area: true });
  curve("Echo round trip", " ms", [["rtt50", "median", "--c1"], ["rtt95", "95%", "--c2"], ["rttMax", "worst", "--c3"]], { log: true });
  curve("Datagrams", "/s", [["datagrams", "sent", "--c1"], ["lost", "lost", "--c2"], ["cut", "cut off", "--c3"]], { log: true });
  curve("Control plane", "/s", [["requests", "answers", "--c1"], ["heartbeats", "heartbeats", "--c2"]], { log: true });
  curve("Handshakes begun", "/s", [["handshakes", "initiations", "--c1"]], { log: true });
  curve("Longest queue of a line", " KiB", [["queue", "queued", "--c1"]]);
  curve("Events of the simulation", "/s", [["events", "events", "--c1"]], { log: true });
  axis();

  function placeCursor() {
    const at = left + x(view.moment);
    cursor.style.left = at - .75 + "px";
    cursor.hidden = at < left - 1 || at > left + width + 1;
    $("moment").textContent = timeText(view.moment);
    for (const element of document.querySelectorAll("[data-now]")) element.textContent = "at " + timeText(view.moment);
    rows.setAttribute("aria-valuenow", view.moment);
    rows.setAttribute("aria-valuetext", timeText(view.moment));
    for (const entry of drawn) if (entry.update) entry.update();
  }
  function measure() {
    const plot = rows.querySelector(".plot").getBoundingClientRect(), box = rows.getBoundingClientRect();
    left = plot.left - box.left;
    width = Math.max(50, plot.width);
  }
  function draw() {
    for (const entry of drawn) {
      entry.svg.setAttribute("viewBox", `0 0 ${width} ${entry.height}`);
      entry.svg.innerHTML = entry.draw();
    }
    placeCursor();
  }
  rows.setAttribute("aria-valuemax", D.duration);
  view.views.push(changed => { if ("from" in changed || "to" in changed) draw(); else placeCursor(); });

  // Mouse: click for the moment, drag to zoom, shift-drag to pan, ctrl-wheel to zoom.
  let drag = null;
  const within = event => event.clientX - rows.getBoundingClientRect().left - left;
  rows.addEventListener("pointerdown", event => {
    if (event.button || within(event) < 0 || event.target.closest(".lab") && left > 0) return;
    drag = { start: within(event), from: view.from, to: view.to, pan: event.shiftKey, moved: false };
    if (event.pointerType === "mouse") rows.setPointerCapture(event.pointerId);
  });
  rows.addEventListener("pointermove", event => {
    if (!drag) return;
    const at = within(event);
    if (Math.abs(at - drag.start) > 4) drag.moved = true;
    if (!drag.moved || event.pointerType !== "mouse") return;
    if (drag.pan) {
      const shift = (drag.start - at) / width * (drag.to - drag.from);
      view.zoom(drag.from + shift, drag.to + shift);
    } else {
      brush.hidden = false;
      brush.style.left = left + Math.max(0, Math.min(at, drag.start)) + "px";
      brush.style.width = Math.abs(at - drag.start) + "px";
    }
  });
  rows.addEventListener("pointerup", event => {
    if (!drag) return;
    const at = within(event), { start, moved, pan } = drag;
    drag = null;
    brush.hidden = true;
    if (!moved) view.set({ moment: timeAtX(Math.min(width, at)) });
    else if (!pan && event.pointerType === "mouse") view.zoom(timeAtX(Math.max(0, Math.min(at, start))), timeAtX(Math.min(width, Math.max(at, start))));
  });
  rows.addEventListener("pointercancel", () => { drag = null; brush.hidden = true; });
  rows.addEventListener("dblclick", () => view.zoom(0, D.duration));
  rows.addEventListener("wheel", event => {
    if (!event.ctrlKey && !event.metaKey && Math.abs(event.deltaX) < Math.abs(event.deltaY)) return;
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) scale(event.deltaY > 0 ? 1.25 : .8, timeAtX(within(event)));
    else { const shift = event.deltaX / width * (view.to - view.from); view.zoom(view.from + shift, view.to + shift); }
  }, { passive: false });
  function scale(factor, around = view.moment) {
    const center = around < view.from || around > view.to ? (view.from + view.to) / 2 : around;
    view.zoom(center - (center - view.from) * factor, center + (view.to - center) * factor);
  }
  const stepSample = count => view.go(times[Math.min(times.length - 1, Math.max(0, view.sample + count))]);
  let played = 0;
  function play() {
    view.playing = !view.playing;
    $("play").textContent = view.playing ? "❚❚" : "▶";
    if (view.playing && view.moment >= D.duration) view.set({ moment: 0 });
    played = performance.now();
    if (view.playing) requestAnimationFrame(advance);
  }
  function advance(now) {
    if (!view.playing) return;
    // The whole in half a minute; what is in sight when zoomed.
    view.go(view.moment + (now - played) / 30_000 * (view.to - view.from));
    played = now;
    if (view.moment >= D.duration) play(); else requestAnimationFrame(advance);
  }
  document.addEventListener("keydown", event => {
    if (event.target.matches?.("input") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest?.("#list") && event.key.startsWith("Arrow")) return;
    const acts = {
      ArrowRight: () => stepSample(event.shiftKey ? 20 : 1), ArrowLeft: () => stepSample(event.shiftKey ? -20 : -1),
      "+": () => scale(.5), "=": () => scale(.5), "-": () => scale(2), "0": () => view.zoom(0, D.duration),
      Home: () => view.go(0), End: () => view.go(D.duration), " ": play, Escape: () => view.set({ node: -1 }),
    };
    if (!acts[event.key] || event.target.matches?.("button") && event.key === " ") return;
    event.preventDefault();
    acts[event.key]();
  });
  $("back").onclick = () => stepSample(-1);
  $("forth").onclick = () => stepSample(1);
  $("play").onclick = play;
  $("closer").onclick = () => scale(.5);
  $("wider").onclick = () => scale(2);
  $("whole").onclick = () => view.zoom(0, D.duration);
  return { resize() { measure(); draw(); } };
})();
