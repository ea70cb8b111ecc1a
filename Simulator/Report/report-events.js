// The list of events around the moment, and the head of the page.
const eventList = (() => {
  const list = $("list"), before = 60, after = 120;
  const chosen = new Set(events.kinds.map((_, kind) => kind));
  let rows = [], rowTimes = [], words = "", opened = -1, asChart = false;

  function filter() {
    const host = view.node < 0 ? -1 : view.node + firstNode;
    const wanted = words.toLowerCase();
    const fits = events.texts.map(text => text.toLowerCase().includes(wanted));
    rows = [];
    for (let i = 0; i < events.count; i++) {
      if (!chosen.has(events.kind[i])) continue;
      if (host >= 0 && events.host[i] !== host && events.peer[i] !== host) continue;
      if (wanted && !fits[events.text[i]] && !fits[events.outcome[i]]) continue;
      rows.push(i);
    }
    rowTimes = rows.map(i => events.time[i]);
  }
  const nameOf = host => host < 0 ? "world" : hostNames[host];

  function what(i) {
    const text = events.texts[events.text[i]], outcome = events.texts[events.outcome[i]];
    const kind = events.kinds[events.kind[i]];
    const peer = events.peer[i] < 0 ? null : [kind === "arrived" || kind === "dropped" || outcome.startsWith("arrives") ? " ← " : " → ", make("b", {}, nameOf(events.peer[i]))];
    return make("span", { class: "what" }, ...(events.host[i] >= 0 ? [make("b", {}, nameOf(events.host[i]))] : []), ...(peer || []),
      events.host[i] >= 0 ? ": " : "", text, outcome ? make("em", {}, " · " + outcome) : null);
  }
  const isBad = i => /never arrives|dropped|not durable|refused|is down|loses power|goes nowhere|reset|timed out|lost/.test(events.texts[events.text[i]] + events.texts[events.outcome[i]]);

  function more(i) {
    const id = events.id[i], cause = events.cause[i], chain = [];
    let at = cause;
    while (at >= 0 && events.position.has(at) && chain.length < 12) {
      const index = events.position.get(at);
      chain.push(make("div", {}, `← #${at} ${timeText(events.time[index] / 1e6, 6)} `, what(index)));
      if (events.kinds[events.kind[index]] === "timer") { at = -1; break; }
      at = events.cause[index];
    }
    if (at >= 0 && !events.position.has(at)) chain.push(make("div", {}, `← #${at}, which is not among the sampled events`));
    const command = `rap sim trace ${D.arguments} --follow ${id}`;
    return make("div", { class: "more" }, `event #${id}` + (cause < 0 ? ", caused by nothing that was kept" : ", caused by"), ...chain, make("code", {}, command),
      make("button", { type: "button", onclick: event => { event.stopPropagation(); copy(command, event.target); } }, "copy"));
  }

  function item(i) {
    const kind = events.kinds[events.kind[i]];
    const element = make("li", { class: `k-${kind}${isBad(i) ? " bad" : ""}${i === opened ? " open" : ""}`, tabindex: "-1", "data-event": i },
      make("time", {}, timeText(events.time[i] / 1e6, 3)), make("span", { class: "kind" }, kind), what(i));
    if (i === opened) element.append(more(i));
    return element;
  }

  function draw() {
    const moment = view.moment * 1e6;
    const middle = rowTimes.length && rowTimes[0] <= moment ? lastAtMost(rowTimes, moment + .5) + 1 : 0;
    const first = Math.max(0, middle - before), last = Math.min(rows.length, middle + after);
    if (asChart) {
      list.innerHTML = `<li class="none">${chart.draw(rows.slice(Math.max(0, middle - 20), last), Math.max(260, list.clientWidth - 20), view.moment)}</li>`;
      list.scrollTop = 0;
      return sampled();
    }
    const items = rows.slice(first, middle).map(item);
    const mark = make("li", { class: "mark" }, timeText(view.moment));
    items.push(mark, ...rows.slice(middle, last).map(item));
    if (!rows.length) items.push(make("li", { class: "none" }, "No event fits."));
    list.replaceChildren(...items);
    list.scrollTop = Math.max(0, mark.offsetTop - list.clientHeight * .4);
    sampled();
  }
  function sampled() {
    const name = view.node < 0 ? "" : ` --node ${D.nodes[view.node].name}`;
    const span = Math.min(1, view.to - view.from);
    const text = D.events.kept < D.events.total
      ? `${D.events.kept.toLocaleString("en")} of ${D.events.total.toLocaleString("en")} events are here: all that change something, and of packets, requests and timers a share. All of this second: `
      : `All ${D.events.total.toLocaleString("en")} events are here. The same in a terminal: `;
    const from = Math.max(0, view.moment - span / 2);
    $("sampled").replaceChildren(text, make("code", {}, `rap sim trace ${D.arguments}${name} --from ${(from).toFixed(2)}s --to ${(from + span).toFixed(2)}s`));
  }
  list.addEventListener("click", event => {
    const element = event.target.closest("[data-event]");
    if (!element || event.target.closest("button")) return;
    const i = +element.dataset.event;
    opened = opened === i ? -1 : i;
    view.go(events.time[i] / 1e6);
    view.set({ opened: i });
  });
  list.addEventListener("keydown", event => {
    const items = [...list.querySelectorAll("[data-event]")];
    const at = items.indexOf(document.activeElement);
    const next = { ArrowDown: at + 1, ArrowUp: at < 0 ? items.length - 1 : at - 1 }[event.key];
    if (next !== undefined && items[next]) { event.preventDefault(); items[next].focus(); }
    if (event.key === "Enter" && at >= 0) items[at].click();
  });

  $("kinds").append(...events.kinds.map((name, kind) => !events.totals[kind] ? null : make("button", {
    type: "button", "aria-pressed": "true", onclick: event => {
      // From all chosen, the first click chooses one alone.
      if (chosen.size === events.kinds.length) chosen.clear();
      if (chosen.has(kind)) chosen.delete(kind); else chosen.add(kind);
      if (!chosen.size) events.kinds.forEach((_, each) => chosen.add(each));
      for (const button of $("kinds").children) button.setAttribute("aria-pressed", chosen.has(+button.dataset.kind));
      filter();
      draw();
    }, "data-kind": kind,
  }, name + " ", make("small", {}, events.totals[kind].toLocaleString("en")))).filter(Boolean));
  $("find").addEventListener("input", event => { words = event.target.value.trim(); filter(); draw(); });
  $("nodes").append(...D.nodes.slice(0, 2000).map(node => make("option", { value: node.name })));
  $("node").addEventListener("change", event => {
    const name = event.target.value.trim();
    view.set({ node: nodeNamed.has(name) ? nodeNamed.get(name) : -1 });
  });
  $("chart").onclick = event => {
    asChart = !asChart;
    event.target.setAttribute("aria-pressed", asChart);
    draw();
  };
  $("clear").onclick = () => view.set({ node: -1 });
  view.views.push(changed => {
    if ("node" in changed) {
      filter();
      $("node").value = view.node < 0 ? "" : D.nodes[view.node].name;
      $("clear").hidden = view.node < 0;
    }
    if ("moment" in changed || "node" in changed || "opened" in changed) draw();
  });
  filter();
  return { draw };
})();

function copy(text, button) {
  const area = make("textarea", { style: "position:fixed;opacity:0" });
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
  const label = button.textContent;
  button.textContent = "copied";
  setTimeout(() => button.textContent = label, 1200);
}

/** The faults at a moment: those in force, and the last that began before it. */
function faultsAt(moment) {
  const begun = D.bars.filter(bar => !bar.isOperation)
    .flatMap(bar => bar.spans.map(([from, until]) => ({ bar, from, until }))).filter(span => span.from <= moment);
  const inForce = begun.filter(span => span.until > moment).sort((a, b) => b.from - a.from);
  const ended = span => Math.max(span.from, span.until);
  const last = begun.filter(span => !inForce.includes(span)).sort((a, b) => ended(b) - ended(a))[0];
  return { inForce, last };
}
/** Says them with buttons that go there. */
function faultLine(moment) {
  const { inForce, last } = faultsAt(moment), most = 4;
  const name = span => span.bar.word + (span.bar.label ? ` “${span.bar.label}”` : "");
  const link = (span, words) => make("button", { type: "button", class: "link", title: span.bar.text, onclick: () => view.go(span.from) },
    `${name(span)} (line ${span.bar.line}), ${words}`);
  const parts = [];
  if (inForce.length) {
    parts.push("In force then: ");
    inForce.slice(0, most).forEach((span, k) => parts.push(k ? ", " : "", link(span, `since ${timeText(span.from)}`)));
    if (inForce.length > most) parts.push(` and ${inForce.length - most} more`);
  }
  const lines = [make("p", { class: "faults" }, ...parts.splice(0))];
  if (last && (!inForce.length || moment - Math.max(last.from, last.until) < 60)) {
    const words = last.until > last.from ? `over since ${timeText(last.until)}` : `at ${timeText(last.from)}`;
    parts.push(inForce.length ? "Shortly before: " : "No fault was in force then; the last before: ", link(last, words));
  }
  if (!parts.length && !inForce.length) parts.push("No fault came before.");
  lines.push(make("p", { class: "faults" }, ...parts));
  return lines.filter(line => line.childNodes.length);
}

// The head.
{
  const held = D.expectations.filter(entry => entry.isGood).length;
  document.title = `${D.scenario}: ${D.held ? "held" : "not held"}, ${D.run}`;
  $("verdict").className = "verdict" + (D.held ? "" : " bad");
  $("verdict").append(D.held ? "HELD" : "NOT HELD", make("small", {}, `${held} of ${D.expectations.length} held`));
  $("title").textContent = D.scenario;
  $("about").textContent = D.about;
  const fact = (name, value, kind = "", wide = "") => make("div", { class: wide }, make("dt", {}, name), make("dd", { class: kind }, value));
  $("facts").append(fact("run", D.run), fact("nodes", D.nodes.length.toLocaleString("en")), fact("places", D.places.length + ""),
    fact("virtual time", timeText(D.duration)), fact("events", D.eventCount.toLocaleString("en")),
    fact("peers reached at the end", short(series.reach[times.length - 1]) + " %"), fact("trace hash", D.hash, "mono", "wide"));
  $("command").textContent = D.command;
  const broken = D.expectations.filter(entry => !entry.isGood).sort((a, b) => (a.decided ?? 1e18) - (b.decided ?? 1e18));
  const troubles = [...D.troubles, ...D.missing];
  if (broken.length || troubles.length) {
    $("broken").hidden = false;
    $("broken").append(make("h2", {}, broken.length ? "What broke, first things first" : "Worth knowing"), make("ul", {},
      ...broken.map(entry => make("li", {},
        make("button", { type: "button", onclick: () => view.go(entry.decided ?? D.duration) }, entry.decided === undefined ? "not reached" : "go to " + timeText(entry.decided)),
        make("b", {}, entry.name), make("p", {}, `${entry.line ? `line ${entry.line}, ` : ""}${entry.name.includes(entry.condition) ? "" : entry.condition + ". "}${entry.why || ""}`),
        ...(entry.decided === undefined ? [] : faultLine(entry.decided)))),
      ...troubles.map(text => make("li", {}, make("b", {}, "note"), make("p", {}, text)))));
  }
  $("foot").textContent = `One file, nothing loaded. The same file and seed give this report again, byte for byte. Trace ${D.hash}.`;
  for (const button of document.querySelectorAll("[data-copy]")) button.onclick = () => copy($(button.dataset.copy).textContent, button);
}

// Light and dark: what the system says, until somebody says otherwise.
{
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let picked = new URLSearchParams(location.hash.slice(1)).get("theme");
  const apply = theme => { document.documentElement.dataset.theme = theme || picked || (dark.matches ? "dark" : "light"); map.resize(); };
  dark.addEventListener("change", () => apply());
  $("theme").onclick = () => { picked = document.documentElement.dataset.theme === "dark" ? "light" : "dark"; apply(); };
  addEventListener("beforeprint", () => apply("light"));
  addEventListener("afterprint", () => apply());
  apply();
}

// Where to look first: at what broke, else into the middle of the first fault that lasts, else at the end.
{
  const asked = parseFloat(new URLSearchParams(location.hash.slice(1)).get("t"));
  const broken = D.expectations.filter(entry => entry.outcome === "broken").map(entry => entry.decided);
  const fault = D.bars.filter(bar => !bar.isOperation).flatMap(bar => bar.spans).filter(([a, b]) => b > a).sort((a, b) => a[0] - b[0])[0];
  const moment = isFinite(asked) ? asked : broken.length ? Math.min(...broken) : fault ? (fault[0] + fault[1]) / 2 : D.duration;
  timeRows.resize();
  view.set({ moment, node: -1 });
  let resizing = 0;
  addEventListener("resize", () => { cancelAnimationFrame(resizing); resizing = requestAnimationFrame(() => { map.resize(); timeRows.resize(); }); });
}

// `report.html#selftest`: clicks through the page and says in the title what it found; for tests in a browser.
if (location.hash === "#selftest") {
  const problems = [];
  addEventListener("error", event => problems.push(event.message));
  const check = (fact, text) => { if (!fact) problems.push(text); };
  const settled = () => new Promise(done => setTimeout(done, 200));
  (async () => {
    await settled();
    check(document.querySelectorAll("#list [data-event]").length > 0, "the list of events is empty");
    const rows = $("rows"), plot = rows.querySelector(".plot").getBoundingClientRect();
    const at = (type, share) => rows.dispatchEvent(new PointerEvent(type, { clientX: plot.left + plot.width * share, clientY: plot.top + 5, pointerType: "pen", bubbles: true }));
    at("pointerdown", .5);
    at("pointerup", .5);
    await settled();
    check(Math.abs(view.moment - D.duration / 2) < D.duration / 50, "a click does not go to its moment");
    $("closer").click();
    await settled();
    check(view.to - view.from < D.duration * .6, "zooming in does not zoom");
    document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "0", bubbles: true }));
    await settled();
    check(view.to - view.from === D.duration, "0 does not show all");
    const sample = view.sample;
    document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
    await settled();
    check(view.sample === sample + 1, "the right arrow does not step");
    if (D.nodes.length) {
      const all = document.querySelectorAll("#list [data-event]").length;
      view.set({ node: 0 });
      await settled();
      const shown = [...document.querySelectorAll("#list [data-event]")].map(element => +element.dataset.event);
      check(shown.every(i => events.host[i] === firstNode || events.peer[i] === firstNode), "the node filter lets others through");
      check(all > 0, "no events before the filter");
      view.set({ node: -1 });
      await settled();
    }
    const went = document.querySelector("#broken li > button"), fault = document.querySelector("#broken .faults button");
    if (fault) {
      fault.click();
      await settled();
      check(D.bars.some(bar => bar.spans.some(span => span[0] === view.moment)), "a fault's button does not go to its beginning");
      went.click();
      await settled();
      check(D.expectations.some(entry => entry.decided === view.moment), "“go to” does not go to what broke");
    }
    document.querySelector("#list [data-event]").click();
    await settled();
    check(document.querySelector("#list .more code"), "a click on an event does not open it");
    $("chart").click();
    await settled();
    check(document.querySelector("#list svg.chart"), "the chart is not drawn");
    $("chart").click();
    $("theme").click();
    await settled();
    check(getComputedStyle(document.body).backgroundColor !== "", "no colours");
    check(document.documentElement.scrollWidth <= innerWidth, "the page is wider than the window");
    document.body.dataset.selftest = problems.length ? "failed: " + problems.join("; ") : "passed";
  })().catch(error => document.body.dataset.selftest = "failed: " + error);
}
