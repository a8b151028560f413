// The threshold explorer: what any threshold gives at any costs and base rate, from counts of validation.
// No library, no network. Formulas are those of imbalance_spark.threshold: at_base_rate, MinCost, Curve.at.
(function () {
  "use strict";
  const data = JSON.parse(document.getElementById("explorer-data").textContent);
  const root = document.getElementById("explorer");
  const find = (name) => root.querySelector(`[data-id="${name}"]`);
  const logit = (p) => Math.log(p) - Math.log1p(-p);
  const sigmoid = (z) => 1 / (1 + Math.exp(-z));
  const state = { strategy: 0, position: 0, fn: data.costs.fn, fp: data.costs.fp, rate: 0, perDay: data.orders_per_day,
    capacity: 0, byAmount: false, shown: new Set(data.strategies.map((_, number) => number)) };
  const observedRate = (s) => s.positives / (s.positives + s.negatives);

  // ---- what a threshold gives -------------------------------------------------------------------------------------

  // Weights of each class move to the asked base rate; recall and false positive rate stay (label shift).
  function outcome(strategy, position, asked) {
    const rate = observedRate(strategy);
    const up = asked.rate / rate, down = (1 - asked.rate) / (1 - rate);
    const tp = strategy.tp[position] * up, fp = strategy.fp[position] * down;
    const positives = strategy.positives * up, negatives = strategy.negatives * down;
    const days = strategy.rows / asked.perDay;
    const alerts = strategy.positive_rows[position] * up + strategy.negative_rows[position] * down;
    const missed = asked.byAmount ? strategy.missed_amount[position] * up : positives - tp;
    const missedIfNobody = asked.byAmount ? strategy.missed_amount[0] * up : positives;
    const cost = asked.fn * missed + asked.fp * fp;
    const trivial = Math.min(asked.fn * missedIfNobody, asked.fp * negatives);
    return {
      threshold: strategy.threshold[position], tp, fp, fn: positives - tp, tn: negatives - fp,
      precision: tp + fp > 0 ? tp / (tp + fp) : null, recall: tp / positives,
      alertsPerDay: alerts / days, falsePerHit: tp > 0 ? fp / tp : null,
      costPerDay: cost / days, savedPerDay: (trivial - cost) / days, days,
      capacityUsed: asked.capacity > 0 ? alerts / days / asked.capacity : null,
    };
  }

  // 95 % intervals by the delta method on the errors of both rates; shares on the scale of the logit.
  function intervals(strategy, position, asked) {
    const errors = strategy.errors;
    if (!errors) return {};
    const tpr = strategy.tp[position] / strategy.positives, fpr = strategy.fp[position] / strategy.negatives;
    const [vt, vf, vc] = [errors.tpr_variance, errors.fpr_variance, errors.covariance].map((v) => v[position]);
    const error = (dt, df) => Math.sqrt(Math.max(dt * dt * vt + df * df * vf + 2 * dt * df * vc, 0));
    const found = {}, q = errors.quantile, total = strategy.positives + strategy.negatives;
    const share = (value, e) => {
      if (!(value > 0 && value < 1) || e === 0) return null;
      const reach = q * e / (value * (1 - value)), z = logit(value);
      return [sigmoid(z - reach), sigmoid(z + reach)];
    };
    const hit = asked.rate * tpr, miss = (1 - asked.rate) * fpr, flagged = hit + miss;
    found.recall = share(tpr, Math.sqrt(vt));
    if (flagged > 0) {
      const scale = 1 / (flagged * flagged);
      found.precision = share(hit / flagged, error(asked.rate * miss * scale, -(1 - asked.rate) * hit * scale));
    }
    const perDay = total * asked.perDay / strategy.rows;
    const around = (value, e) => [Math.max(value - q * e, 0), value + q * e];
    const alerts = outcome(strategy, position, asked).alertsPerDay;
    found.alertsPerDay = around(alerts, perDay * error(asked.rate, 1 - asked.rate));
    if (!asked.byAmount) {
      const cost = outcome(strategy, position, asked).costPerDay;
      found.costPerDay = around(cost, perDay * error(-asked.fn * asked.rate, asked.fp * (1 - asked.rate)));
      // Room for errors that the sample happens to lack, as with_unseen_errors of imbalance_spark.metrics.intervals.
      const room = Math.max(asked.fn * asked.rate * errors.unseen_share.positives,
        asked.fp * (1 - asked.rate) * errors.unseen_share.negatives);
      found.costPerDay[1] = Math.max(found.costPerDay[1], cost + perDay * room);
    }
    return found;
  }

  // The model's own threshold at which p (fn) = (1 - p) fp once p has moved to the asked base rate (Elkan, 2001).
  function closedForm(strategy, asked) {
    return sigmoid(Math.log(asked.fp / asked.fn) - logit(asked.rate) + logit(observedRate(strategy)));
  }

  // The costs whose closed form is this threshold, a hair lower so that rows on it stay flagged.
  function command(strategy, position, asked) {
    const threshold = strategy.threshold[position];
    const base = strategy.command || "python jobs/retune.py --run RUN_ID";
    const perDay = `--orders-per-day ${asked.perDay}`;
    if (!(threshold < 1)) return "No command: this threshold flags nobody.";
    const moved = logit(threshold) + logit(asked.rate) - logit(observedRate(strategy));
    const fn = Math.exp(-moved) * (1 + 1e-12);
    const rate = Math.abs(asked.rate / observedRate(strategy) - 1) < 1e-9 ? "" : ` --base-rate ${asked.rate}`;
    return `${base} --objective bayes_cost --fn ${fn} --fp 1${rate} ${perDay}`;
  }

  // ---- showing it -------------------------------------------------------------------------------------------------

  const text = (value, digits = 4) => {
    if (value === null || value === undefined || Number.isNaN(value)) return "undefined";
    if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en-US");
    return Number(value.toPrecision(digits)).toString();
  };
  const percent = (value) => (value === null ? "undefined" : `${text(100 * value, 3)} %`);

  function put(name, value, format = text, range = null) {
    const cell = find(name);
    cell.dataset.value = value === null ? "" : String(value);
    cell.firstElementChild.textContent = format(value);
    cell.lastElementChild.textContent = range ? `95 %: ${format(range[0])} to ${format(range[1])}` : "";
    cell.dataset.low = range ? String(range[0]) : "";
    cell.dataset.high = range ? String(range[1]) : "";
  }

  const SVG = "http://www.w3.org/2000/svg";
  const WIDTH = 560, HEIGHT = 300, LEFT = 56, BOTTOM = 40, TOP = 28, RIGHT = 12;
  const DASHES = ["", "7 4", "2 4", "10 4 2 4", "1 6", "14 6"];

  function draw(name, x, y, lines, marks, labels) {
    const svg = find(name);
    svg.replaceChildren();
    const add = (tag, attributes, content) => {
      const element = document.createElementNS(SVG, tag);
      Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
      if (content !== undefined) element.textContent = content;
      svg.append(element);
      return element;
    };
    const px = (v) => LEFT + (v - x.low) / (x.high - x.low || 1) * (WIDTH - LEFT - RIGHT);
    const py = (v) => HEIGHT - BOTTOM - (v - y.low) / (y.high - y.low || 1) * (HEIGHT - BOTTOM - TOP);
    for (let step = 0; step <= 4; step += 1) {
      const vx = x.low + step / 4 * (x.high - x.low), vy = y.low + step / 4 * (y.high - y.low);
      add("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: py(vy), y2: py(vy), class: "grid" });
      add("text", { x: px(vx), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, text(vx, 3));
      add("text", { x: LEFT - 6, y: py(vy) + 4, "text-anchor": "end" }, text(vy, 3));
    }
    add("text", { x: (LEFT + WIDTH) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, labels[0]);
    add("text", { x: 12, y: 12, "text-anchor": "start", class: "axis" }, labels[1]);
    lines.forEach((line) => add("polyline", { class: line.active ? "line active" : "line",
      "stroke-dasharray": DASHES[line.number % DASHES.length],
      points: line.points.map(([a, b]) => `${px(a).toFixed(1)},${py(b).toFixed(1)}`).join(" ") }));
    marks.forEach((mark) => {
      const circle = add("circle", { cx: px(mark.at[0]), cy: py(mark.at[1]), r: mark.here ? 6 : 4,
        class: mark.here ? "here" : "mark" });
      const title = document.createElementNS(SVG, "title");
      title.textContent = mark.name;
      circle.append(title);
    });
  }

  function curves() {
    const shown = data.strategies.map((strategy, number) => ({ strategy, number, active: number === state.strategy }))
      .filter((line) => state.shown.has(line.number) || line.active);
    const lines = shown.map((line) => ({ ...line,
      outcomes: line.strategy.threshold.map((_, position) => outcome(line.strategy, position, state)) }));
    const current = lines.find((line) => line.active);
    const marks = Object.entries(current.strategy.chosen).map(([name, position]) => ({ name, position }));
    marks.push({ name: "here", position: state.position, here: true });
    const at = (point) => marks.map((mark) => ({ ...mark, at: point(current.outcomes[mark.position]) }))
      .filter((mark) => mark.at.every((value) => value !== null && Number.isFinite(value)));
    const line = (point) => lines.map((one) => ({ ...one, points: one.outcomes.map(point)
      .filter((p) => p.every((value) => value !== null && Number.isFinite(value))) }));
    const ranking = (o) => [o.recall, o.precision];
    draw("chart-precision-recall", { low: 0, high: 1 }, { low: 0, high: 1 }, line(ranking), at(ranking),
      ["recall", "precision"]);
    const costing = (o) => [o.threshold < 1 ? logit(o.threshold) : null, o.costPerDay];
    const points = line(costing), all = points.flatMap((one) => one.points);
    const xs = all.map((p) => p[0]), best = Math.min(...all.map((p) => p[1]));
    const nobody = outcome(current.strategy, 0, state).costPerDay;
    const roof = Math.max(2 * best, 1.2 * nobody, 1e-12);
    points.forEach((one) => { one.points = one.points.filter((p) => p[1] <= roof); });
    draw("chart-cost", { low: Math.min(...xs), high: Math.max(...xs) }, { low: 0, high: roof }, points,
      at(costing).filter((mark) => mark.at[1] <= roof), ["threshold in log-odds", "cost a day"]);
  }

  function segments(strategy) {
    const body = find("segments");
    body.replaceChildren();
    strategy.segments.forEach((segment) => {
      const tp = segment.tp[state.position], fp = segment.fp[state.position];
      const values = [`${segment.column}: ${segment.value}`, text(segment.positives + segment.negatives),
        percent((tp + fp) / (segment.positives + segment.negatives)), tp + fp > 0 ? percent(tp / (tp + fp)) : "-",
        segment.positives > 0 ? percent(tp / segment.positives) : "-"];
      const row = document.createElement("tr");
      values.forEach((value) => { const cell = document.createElement("td"); cell.textContent = value; row.append(cell); });
      body.append(row);
    });
    find("segments-part").hidden = strategy.segments.length === 0;
  }

  function refresh() {
    const strategy = data.strategies[state.strategy];
    const found = outcome(strategy, state.position, state), range = intervals(strategy, state.position, state);
    const moved = found.threshold < 1 ? logit(found.threshold) : null;
    put("threshold", found.threshold, (value) => (value > 1 ? "flag nobody" : text(value)));
    find("threshold").lastElementChild.textContent = moved === null ? "" : `log-odds ${text(moved, 4)}`;
    put("precision", found.precision, percent, range.precision);
    put("recall", found.recall, percent, range.recall);
    put("alerts", found.alertsPerDay, text, range.alertsPerDay);
    put("false-per-hit", found.falsePerHit);
    put("cost", found.costPerDay, text, range.costPerDay);
    put("saved", found.savedPerDay);
    put("capacity-used", found.capacityUsed, (value) => (value === null ? "no capacity given" : percent(value)));
    ["tp", "fp", "fn", "tn"].forEach((name) => put(`matrix-${name}`, found[name] / found.days));
    find("command").textContent = command(strategy, state.position, state);
    find("position").setAttribute("aria-valuetext", `threshold ${text(found.threshold)}`);
    const cheapest = closedForm(strategy, state);
    find("closed-form").textContent = `On calibrated probabilities these costs pay from a threshold of ${text(cheapest)} on.`;
    find("closed-form").dataset.value = String(cheapest);
    segments(strategy);
    curves();
  }

  // ---- controls ---------------------------------------------------------------------------------------------------

  // A slider in powers of ten beside a field for the exact number.
  function pair(name, key, low, high) {
    const field = find(name), slider = find(`${name}-slider`);
    slider.min = Math.log10(low); slider.max = Math.log10(high); slider.step = 0.01;
    const set = (value) => { field.value = value; slider.value = Math.log10(value); state[key] = value; };
    field.addEventListener("input", () => {
      const value = Number(field.value);
      field.setAttribute("aria-invalid", String(!(value > 0) || (key === "rate" && value >= 1)));
      if (field.getAttribute("aria-invalid") === "false") { slider.value = Math.log10(value); state[key] = value; refresh(); }
    });
    slider.addEventListener("input", () => { set(Number((10 ** Number(slider.value)).toPrecision(3))); refresh(); });
    return set;
  }

  function choose(number) {
    const before = state.position, strategy = data.strategies[number];
    const old = data.strategies[state.strategy].threshold[before];
    state.strategy = number;
    const slider = find("position");
    slider.max = strategy.threshold.length - 1;
    go(strategy.threshold.findIndex((threshold) => threshold <= old));
    const buttons = find("chosen");
    buttons.replaceChildren();
    Object.entries(strategy.chosen).forEach(([name, position]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = name;
      button.addEventListener("click", () => { go(position); refresh(); });
      buttons.append(button);
    });
    find("by-amount-part").hidden = strategy.missed_amount === null;
  }

  function go(position) {
    const last = data.strategies[state.strategy].threshold.length - 1;
    state.position = position < 0 ? last : Math.min(position, last);
    find("position").value = state.position;
  }

  const select = find("strategy"), toggles = find("toggles");
  data.strategies.forEach((strategy, number) => {
    const option = document.createElement("option");
    option.value = number; option.textContent = strategy.name;
    select.append(option);
    const label = document.createElement("label"), box = document.createElement("input");
    box.type = "checkbox"; box.checked = true;
    box.addEventListener("change", () => {
      if (box.checked) state.shown.add(number); else state.shown.delete(number);
      refresh();
    });
    const sample = document.createElementNS(SVG, "svg"), stroke = document.createElementNS(SVG, "line");
    sample.setAttribute("class", "sample"); sample.setAttribute("viewBox", "0 0 34 6"); sample.setAttribute("aria-hidden", "true");
    Object.entries({ x1: 0, x2: 34, y1: 3, y2: 3, class: "line", "stroke-dasharray": DASHES[number % DASHES.length] })
      .forEach(([key, value]) => stroke.setAttribute(key, value));
    sample.append(stroke);
    label.append(box, sample, document.createTextNode(strategy.name));
    toggles.append(label);
  });
  select.addEventListener("change", () => { choose(Number(select.value)); refresh(); });
  find("position").addEventListener("input", (event) => { go(Number(event.target.value)); refresh(); });
  find("by-amount").addEventListener("change", (event) => { state.byAmount = event.target.checked; refresh(); });
  find("go-closed-form").addEventListener("click", () => {
    const strategy = data.strategies[state.strategy], wanted = closedForm(strategy, state);
    let position = strategy.threshold.findIndex((threshold) => threshold < wanted) - 1;
    if (position < -1) position = strategy.threshold.length - 1;
    go(Math.max(position, 0));
    refresh();
  });
  find("copy").addEventListener("click", () => {
    const said = find("copied"), area = document.createRange();
    area.selectNodeContents(find("command"));
    getSelection().removeAllRanges();
    getSelection().addRange(area);
    const done = navigator.clipboard ? navigator.clipboard.writeText(find("command").textContent) : Promise.reject();
    done.then(() => { said.textContent = "Copied."; }, () => { said.textContent = "Selected: press Ctrl+C."; });
  });

  const first = data.strategies[0];
  const served = first.chosen[data.serving];
  const rate = pair("rate", "rate", 1e-6, 0.9);
  pair("fn", "fn", 0.01, 1e6)(data.costs.fn);
  pair("fp", "fp", 0.01, 1e6)(data.costs.fp);
  pair("per-day", "perDay", 1, 1e9)(data.orders_per_day);
  rate(observedRate(first));
  const start = served === undefined ? 0 : served;
  state.position = start;
  choose(0);
  go(start);
  const usual = Math.max(1, Math.round(outcome(first, start, state).alertsPerDay));
  pair("capacity", "capacity", 0.1, 1e7)(usual);
  refresh();
})();
