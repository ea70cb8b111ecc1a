// The messages around the moment as a sequence chart: the list's other face.
const chart = (() => {
  const most = 6, rowHeight = 30, top = 30, left = 76;
  const escape = text => String(text).replace(/[&<>"]/g, c => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);

  /** Rows to draw: a message where it is sent, what a host does by itself where it happens. */
  function rowsOf(list) {
    const rows = [];
    for (const i of list) {
      const kind = events.kinds[events.kind[i]], text = events.texts[events.text[i]], outcome = events.texts[events.outcome[i]];
      const lost = outcome.startsWith("never arrives") || outcome === "goes nowhere";
      if ((kind === "sent" || kind === "http") && events.peer[i] >= 0 && !outcome.startsWith("arrives"))
        rows.push({ i, from: events.host[i], to: events.peer[i], lost, text: text + (lost ? " · " + outcome : "") });
      else if (kind === "arrived" && outcome) rows.push({ i, from: events.host[i], text: outcome });
      else if (["boot", "crash", "report", "written", "clock", "step"].includes(kind)) rows.push({ i, from: events.host[i], text });
    }
    return rows;
  }

  function draw(list, width, moment) {
    const all = rowsOf(list), hosts = [];
    for (const row of all) for (const host of [row.from, row.to ?? row.from]) if (host >= 0 && !hosts.includes(host) && hosts.length < most) hosts.push(host);
    hosts.sort((a, b) => a - b);
    const rows = all.filter(row => row.from < 0 || hosts.includes(row.from) && hosts.includes(row.to ?? row.from)).slice(0, 80);
    const height = top + rows.length * rowHeight + 12, gap = (width - left - 16) / Math.max(1, hosts.length);
    const x = host => left + gap * (hosts.indexOf(host) + .5);
    let text = "";
    for (const host of hosts) text += `<line class="life" x1="${x(host)}" x2="${x(host)}" y1="${top - 6}" y2="${height}"/>`
      + `<text class="who" x="${x(host)}" y="16" text-anchor="middle">${escape(hostNames[host])}</text>`;
    let marked = false;
    rows.forEach((row, index) => {
      const y = top + index * rowHeight + 18, time = events.time[row.i] / 1e6;
      if (!marked && time > moment) { text += `<line class="mark" x1="0" x2="${width}" y1="${y - 19}" y2="${y - 19}"/>`; marked = true; }
      text += `<text x="4" y="${y + 3}">${timeText(time, 3)}</text>`;
      if (row.from < 0) { text += `<text class="label fault" x="${left}" y="${y + 3}">${escape(row.text.slice(0, 90))}</text>`; return; }
      const a = x(row.from);
      if (row.to === undefined || row.to === row.from) {
        text += `<circle class="dot" cx="${a}" cy="${y}" r="3.5"/>` + label(row.text, a, y, width, a > width * .6);
        return;
      }
      const b = x(row.to), end = row.lost ? a + (b - a) * .62 : b, way = Math.sign(b - a);
      text += `<line class="arrow${row.lost ? " lost" : ""}" x1="${a}" x2="${end - way * 2}" y1="${y}" y2="${y}"/>`;
      text += row.lost ? `<path class="cross" d="M${end - 4} ${y - 4}l8 8m0 -8l-8 8"/>` : `<path class="tip" d="M${end} ${y}l${-way * 8} -4v8z"/>`;
      text += `<text class="label" x="${(a + b) / 2}" y="${y - 5}" text-anchor="middle">${escape(row.text.slice(0, Math.max(18, Math.abs(b - a) / 5.6)))}</text>`;
    });
    if (!rows.length) text += `<text x="12" y="${top + 10}">No message around this moment fits.</text>`;
    return `<svg class="chart" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="Messages around the moment">${text}</svg>`;
  }
  const label = (text, x, y, width, toLeft) => `<text class="label" x="${toLeft ? x - 8 : x + 8}" y="${y + 3}" text-anchor="${toLeft ? "end" : "start"}">${escape(text.slice(0, 60))}</text>`;
  return { draw };
})();
