// The map: places in a ring, their nodes inside, paths between nodes, cuts between places.
const map = (() => {
  const canvas = $("map"), context = canvas.getContext("2d"), tip = $("tip");
  let width = 0, height = 0, places = [], nodes = [], colors = {};

  function readColors() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["--ink", "--muted", "--line", "--soft", "--card", "--cut", "--accent", "--okfill", "--partfill",
      "--badfill", "--off", "--join"]) colors[name] = style.getPropertyValue(name).trim();
  }

  function layout() {
    const scale = window.devicePixelRatio || 1;
    width = canvas.clientWidth;
    height = canvas.clientHeight;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    const count = D.places.length;
    const members = D.places.map(() => []);
    D.nodes.forEach((node, index) => members[node.place].push(index));
    const most = Math.max(1, ...members.map(list => list.length));
    const margin = 40;
    const small = Math.min(width - 24, height - 2 * margin);
    // So large that neighbours on the ring don't touch.
    const a = (width - 24) / 2, b = (height - 2 * margin) / 2;
    const tall = count === 2 && height > width;
    const centers = radius => D.places.map((name, index) => {
      if (count === 1) return { x: width / 2, y: height / 2 };
      const angle = (count === 2 && !tall ? Math.PI : -Math.PI / 2) + index * 2 * Math.PI / count;
      return { x: width / 2 + Math.cos(angle) * (a - radius), y: height / 2 + Math.sin(angle) * (b - radius) };
    });
    let radius = count === 1 ? small / 2.1 : Math.min(a, b) * .62;
    for (; radius > 14; radius *= .96) {
      const at = centers(radius);
      const gap = count < 7 ? 34 : 8;
      if (at.every((one, i) => at.every((other, k) => i === k || Math.hypot(one.x - other.x, one.y - other.y) > 2 * radius + gap))) break;
    }
    const center = centers(radius);
    places = D.places.map((name, index) => ({
      name, members: members[index], ...center[index],
      radius: radius * (.62 + .38 * Math.sqrt(Math.max(1, members[index].length) / most)),
    }));
    nodes = D.nodes.map(() => null);
    for (const place of places) {
      const n = place.members.length;
      place.members.forEach((node, k) => {
        // A sunflower: even at every size.
        const r = n === 1 ? 0 : Math.sqrt((k + .5) / n) * place.radius * (n < 6 ? .55 : .84), angle = k * 2.399963 + .6;
        nodes[node] = { x: place.x + r * Math.cos(angle), y: place.y + r * Math.sin(angle) };
      });
      place.dot = Math.max(1.6, Math.min(11, place.radius * .62 / Math.sqrt(Math.max(1, n))));
    }
  }

  /** Of two places: 0 none of the pairs of their hosts is cut, 1 some are, 2 all. */
  function cutBetween(cuts, a, b) {
    let some = false;
    const size = places[a].members.length * places[b].members.length;
    for (const cut of cuts) {
      const inA = list => list.filter(node => D.nodes[node].place === a).length;
      const inB = list => list.filter(node => D.nodes[node].place === b).length;
      const pairs = inA(cut.from) * inB(cut.to) + inB(cut.from) * inA(cut.to);
      if (pairs >= size && size) return { share: 2, cut };
      if (pairs) some = cut;
    }
    return some ? { share: 1, cut: some } : null;
  }

  function line(from, to, color, thickness, dash = []) {
    context.strokeStyle = color;
    context.lineWidth = thickness;
    context.setLineDash(dash);
    context.beginPath();
    context.moveTo(from.x, from.y);
    context.lineTo(to.x, to.y);
    context.stroke();
    context.setLineDash([]);
  }

  /** Both directions of each pair, worst first told. */
  function pairs(sample) {
    const found = new Map();
    for (const path of paths.values()) {
      const state = stateAt(path.changes, sample);
      if (!state) continue;
      const key = Math.min(path.from, path.to) * D.nodes.length + Math.max(path.from, path.to);
      const known = found.get(key);
      if (known) known.worst = Math.min(known.worst, state), known.best = Math.max(known.best, state);
      else found.set(key, { a: path.from, b: path.to, worst: state, best: state });
    }
    return [...found.values()];
  }

  function drawPaths(sample) {
    const counts = [0, 0, 0];
    const list = pairs(sample);
    const dense = Math.max(.16, Math.min(.75, 60 / Math.max(1, list.length) + .12));
    const sorted = list.map(pair => ({ ...pair, rank: pair.worst === 3 ? 0 : pair.best === 3 ? 1 : 2 })).sort((x, y) => x.rank - y.rank);
    for (const pair of sorted) {
      counts[pair.rank]++;
      const own = view.node < 0 || pair.a === view.node || pair.b === view.node;
      context.globalAlpha = own ? view.node >= 0 ? .95 : pair.rank ? Math.min(1, dense + .12) : dense : .04;
      const color = colors[["--okfill", "--partfill", "--badfill"][pair.rank]];
      line(nodes[pair.a], nodes[pair.b], color, own && view.node >= 0 ? 2 : 1, pair.rank === 2 ? [4, 3] : []);
    }
    context.globalAlpha = 1;
    return counts;
  }

  function drawPlaces(cuts) {
    for (let a = 0; a < places.length; a++) for (let b = a + 1; b < places.length; b++) {
      if (places.length <= 40) line(places[a], places[b], colors["--soft"], 5);
    }
    for (const place of places) {
      context.fillStyle = colors["--card"];
      context.strokeStyle = colors["--line"];
      context.lineWidth = 1.5;
      context.beginPath();
      context.arc(place.x, place.y, place.radius, 0, 7);
      context.fill();
      context.stroke();
    }
  }

  function drawCuts(cuts) {
    if (!cuts.length) return;
    for (let a = 0; a < places.length; a++) {
      let whole = places.length > 2;
      for (let b = 0; b < places.length; b++) if (b !== a && cutBetween(cuts, a, b)?.share !== 2) whole = false;
      places[a].isolated = whole;
    }
    context.strokeStyle = context.fillStyle = colors["--cut"];
    for (let a = 0; a < places.length; a++) for (let b = a; b < places.length; b++) {
      const found = cutBetween(cuts, a, b);
      if (!found || a !== b && (places[a].isolated || places[b].isolated)) continue;
      if (a === b) { ring(places[a], false); continue; }
      const dx = places[b].x - places[a].x, dy = places[b].y - places[a].y, length = Math.hypot(dx, dy) || 1;
      const middle = { x: places[a].x + dx / 2, y: places[a].y + dy / 2 };
      const across = { x: -dy / length * 26, y: dx / length * 26 };
      line({ x: middle.x - across.x, y: middle.y - across.y }, { x: middle.x + across.x, y: middle.y + across.y }, colors["--cut"], 4, found.share === 2 ? [] : [5, 4]);
    }
    for (const place of places) if (place.isolated) ring(place, true);
  }

  function ring(place, whole) {
    context.strokeStyle = colors["--cut"];
    context.lineWidth = 3;
    context.setLineDash(whole ? [9, 6] : [3, 5]);
    context.beginPath();
    context.arc(place.x, place.y, place.radius + 6, 0, 7);
    context.stroke();
    context.setLineDash([]);
  }

  function drawNodes(sample) {
    const counts = nodeStates.map(() => 0);
    for (const place of places) for (const node of place.members) {
      const state = stateAt(changesOfNode[node], sample);
      counts[state]++;
      const at = nodes[node];
      context.globalAlpha = view.node < 0 || view.node === node || isPeer(node, sample) ? 1 : .22;
      context.beginPath();
      context.arc(at.x, at.y, place.dot * (view.node === node ? 1.5 : 1), 0, 7);
      context.fillStyle = state ? colors[nodeColors[state]] : colors["--card"];
      context.fill();
      context.lineWidth = state ? 1 : 1.5;
      context.strokeStyle = state ? colors["--card"] : colors["--off"];
      context.stroke();
      if (view.node === node) {
        context.strokeStyle = colors["--ink"];
        context.lineWidth = 2;
        context.stroke();
      }
    }
    context.globalAlpha = 1;
    if (D.nodes.length <= 40) {
      context.font = "11.5px system-ui, sans-serif";
      context.textAlign = "center";
      for (const place of places) for (const node of place.members) label(D.nodes[node].name, nodes[node].x, nodes[node].y + place.dot + 12, colors["--muted"]);
    }
    return counts;
  }

  const isPeer = (node, sample) => {
    const path = paths.get(view.node * D.nodes.length + node);
    return path !== undefined && stateAt(path.changes, sample) > 0;
  };

  function label(text, x, y, color) {
    context.lineWidth = 3.5;
    context.lineJoin = "round";
    context.strokeStyle = colors["--card"];
    context.strokeText(text, x, y);
    context.fillStyle = color;
    context.fillText(text, x, y);
  }

  function drawNames(sample) {
    context.textAlign = "center";
    places.forEach((place, index) => {
      let good = 0;
      for (const node of place.members) if (stateAt(changesOfNode[node], sample) === 3) good++;
      const above = place.y <= height / 2 + 1 && places.length > 2;
      const y = above ? place.y - place.radius - 12 : place.y + place.radius + 20;
      const control = D.controlPlace !== index ? "" : width < 560 ? "  ◆" : "  ◆ control plane";
      const name = place.name + (place.members.length ? `  ${good}/${place.members.length}` : "") + control;
      context.font = "600 12.5px system-ui, sans-serif";
      const half = context.measureText(name).width / 2;
      label(name, Math.min(width - half - 2, Math.max(half + 2, place.x)), y, place.isolated ? colors["--cut"] : colors["--ink"]);
    });
  }

  function legend(counts, ways, cuts) {
    const items = nodeStates.map((name, state) => counts[state] || state === 3
      ? make("li", {}, make("i", { style: `--c:var(${nodeColors[state]})` }), make("b", {}, counts[state] + ""), name) : null);
    items.push(make("li", { class: "gap" }));
    ["paths up both ways", "one way", "down"].forEach((name, rank) => items.push(make("li", {},
      make("i", { class: rank === 2 ? "way dash" : "way", style: `--c:var(${["--okfill", "--partfill", "--badfill"][rank]})` }),
      make("b", {}, ways[rank] + ""), name)));
    if (width < 560) items.push(make("li", {}, "◆ control plane"));
    if (cuts.length) items.push(make("li", {}, make("i", { class: "way dash", style: "--c:var(--cut)" }), `cut (line ${[...new Set(cuts.map(cut => cut.line))].join(", ")})`));
    $("legend").replaceChildren(...items.filter(item => item));
    canvas.setAttribute("aria-label", `At ${timeText(view.moment)}: ` + nodeStates.map((name, state) => counts[state] ? `${counts[state]} nodes ${name}` : "").filter(Boolean).join(", ")
      + `; ${ways[0]} paths up both ways, ${ways[1]} one way, ${ways[2]} down`);
  }

  function draw() {
    context.clearRect(0, 0, width, height);
    const cuts = cutsAt(view.moment);
    for (const place of places) place.isolated = false;
    drawPlaces(cuts);
    const ways = drawPaths(view.sample);
    const counts = drawNodes(view.sample);
    drawCuts(cuts);
    drawNames(view.sample);
    legend(counts, ways, cuts);
  }

  function nodeNear(event) {
    const box = canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    let best = -1, nearest = 14;
    nodes.forEach((at, node) => {
      const distance = Math.hypot(at.x - x, at.y - y);
      if (distance < nearest) nearest = distance, best = node;
    });
    return { node: best, x, y };
  }

  canvas.addEventListener("pointermove", event => {
    const { node, x, y } = nodeNear(event);
    const place = places.findIndex(place => Math.hypot(place.x - x, place.y - y) < place.radius);
    tip.hidden = node < 0 && place < 0;
    tip.style.left = Math.min(x + 12, width - 210) + "px";
    tip.style.top = y + 14 + "px";
    if (tip.hidden) return;
    if (node < 0) {
      const lines = D.links.filter(link => link.a === place || link.b === place).map(link => {
        const other = link.a === place ? link.b : link.a;
        return `${other === place ? "within" : "to " + D.places[other]}: ${link.text}`;
      });
      tip.textContent = [D.places[place], ...lines.slice(0, 10)].join("\n") + (lines.length > 10 ? `\nand ${lines.length - 10} more` : "");
      return;
    }
    const peers = [];
    for (const path of paths.values()) {
      const state = path.from === node ? stateAt(path.changes, view.sample) : 0;
      if (state) peers.push(`→ ${D.nodes[path.to].name}: ${pathStates[state]}`);
    }
    tip.textContent = `${D.nodes[node].name}, ${D.places[D.nodes[node].place]}\n${nodeStates[stateAt(changesOfNode[node], view.sample)]}\n`
      + peers.slice(0, 8).join("\n") + (peers.length > 8 ? `\nand ${peers.length - 8} more` : "");
  });
  canvas.addEventListener("pointerleave", () => tip.hidden = true);
  canvas.addEventListener("click", event => {
    const { node } = nodeNear(event);
    view.set({ node: node === view.node ? -1 : node });
  });

  function resize() { readColors(); layout(); draw(); }
  view.views.push(changed => { if ("moment" in changed || "node" in changed) draw(); });
  return { resize, nodeAt: node => nodes[node] };
})();
