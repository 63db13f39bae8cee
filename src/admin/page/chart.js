// The two charts, drawn from what the server remembers of the last ten minutes and what it has said since.

const SPAN_S = 600;
// What a natpulse that has only begun is shown over.
const SHORTEST_SPAN_S = 60;
const SAMPLE_S = 5;
const BUCKET_S = 15;
const LEFT = 34;
const RIGHT = 10;
const TOP = 10;
const BOTTOM = 20;

// What was sampled, oldest first; the last one is replaced until it is as old as a sample gets.
class Samples {
  all = [];
  isSettled = true;

  replace(samples) {
    this.all = samples;
    this.isSettled = true;
  }

  add(status) {
    const { sent: beats_sent, answered: beats_answered, missed: beats_missed } = status.beats;
    const { active, opened, closed } = status.sessions;
    const deaths = status.deaths.client + status.deaths.backend;
    if (!this.isSettled) this.all.pop();
    const last = this.all.at(-1);
    this.all.push({ at: status.now, active, opened, closed, beats_sent, beats_answered, beats_missed, deaths });
    this.isSettled = !last || status.now - last.at >= SAMPLE_S;
    this.all = this.all.filter((sample) => sample.at > status.now - SPAN_S - BUCKET_S);
  }

  get last() {
    return this.all.at(-1);
  }

  // How many have died in all that time.
  get deaths() {
    return this.last.deaths - this.all[0].deaths;
  }

  // What happened in each stretch of time, by the moments at which the stretches end.
  buckets(length) {
    const buckets = new Map();
    for (let place = 1; place < this.all.length; place += 1) {
      const [before, sample] = [this.all[place - 1], this.all[place]];
      const at = Math.ceil(sample.at / length) * length;
      const bucket = buckets.get(at) ?? { at, opened: 0, closed: 0, beats_sent: 0, beats_answered: 0, beats_missed: 0, deaths: 0 };
      for (const name of Object.keys(bucket)) {
        if (name !== "at") bucket[name] += sample[name] - before[name];
      }
      bucket.active = sample.active;
      buckets.set(at, bucket);
    }
    return [...buckets.values()];
  }
}

// A chart fills its element's width, is drawn anew when that changes, and says what is under the pointer.
class Chart {
  constructor(svg, said) {
    this.svg = svg;
    this.said = said;
    this.pointed = null;
    new ResizeObserver(() => this.render()).observe(svg);
    svg.addEventListener("pointermove", (event) => {
      this.pointed = event.clientX - svg.getBoundingClientRect().left;
      this.render();
    });
    svg.addEventListener("pointerleave", () => {
      this.pointed = null;
      this.render();
    });
  }

  show(samples) {
    this.samples = samples;
    this.render();
  }

  // The moment at the right end.
  get end() {
    return this.samples.last.at;
  }

  // How long before that the left end is.
  get span() {
    return Math.min(SPAN_S, Math.max(SHORTEST_SPAN_S, this.end - this.samples.all[0].at));
  }

  x(at) {
    return LEFT + (this.width - LEFT - RIGHT) * (1 - (this.end - at) / this.span);
  }

  y(value) {
    return TOP + (this.height - TOP - BOTTOM) * (1 - value / this.top);
  }

  render() {
    if (!this.samples?.last || this.svg.clientWidth === 0) return;
    this.width = this.svg.clientWidth;
    this.height = this.svg.clientHeight;
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    this.top = roundUp(this.highest());
    const parts = [...this.axes(), ...this.marks()];
    const pointed = this.pointed !== null && this.nearest();
    if (pointed) {
      const x = this.x(pointed.at);
      parts.push(draw("line", { class: "guide", x1: x, x2: x, y1: TOP, y2: this.height - BOTTOM }));
    }
    this.svg.replaceChildren(...parts);
    write(this.said, pointed ? this.describe(pointed) : this.summary());
  }

  nearest() {
    const distance = (point) => Math.abs(this.x(point.at) - this.pointed);
    return this.points().reduce((best, point) => (!best || distance(point) < distance(best) ? point : best), null);
  }

  axes() {
    const parts = [];
    for (const value of [0, this.top / 2, this.top]) {
      const y = Math.round(this.y(value)) + 0.5;
      parts.push(draw("line", { class: "grid", x1: LEFT, x2: this.width - RIGHT, y1: y, y2: y }));
      parts.push(draw("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, short.format(value)));
    }
    const step = [15, 30, 60, 120, 180].find((step) => this.x(this.end) - this.x(this.end - step) > 64) ?? 300;
    for (let at = Math.ceil((this.end - this.span) / step) * step; at <= this.end; at += step) {
      const [x, label] = [this.x(at), clock(at, step < 60)];
      if (x < LEFT + 20 || x > this.width - RIGHT - 20) continue;
      parts.push(draw("text", { x, y: this.height - 5, "text-anchor": "middle" }, label));
    }
    return parts;
  }
}

class AliveChart extends Chart {
  points() {
    return this.samples.all.filter((sample) => sample.at >= this.end - this.span);
  }

  highest() {
    return Math.max(...this.points().map((sample) => sample.active));
  }

  marks() {
    const points = this.points();
    // A number of sessions holds until the next sample says another.
    let path = "";
    for (const { at, active } of points) {
      const [x, y] = [this.x(at).toFixed(1), this.y(active).toFixed(1)];
      path += path ? `H${x}V${y}` : `M${x} ${y}`;
    }
    const [first, last] = [points[0], points.at(-1)];
    const floor = this.y(0).toFixed(1);
    const parts = [
      draw("path", { class: "area", d: `${path}V${floor}H${this.x(first.at).toFixed(1)}Z` }),
      draw("path", { class: "line", d: path }),
      draw("circle", { class: "dot", cx: this.x(last.at), cy: this.y(last.active), r: 3.5 }),
    ];
    for (let place = 1; place < points.length; place += 1) {
      if (points[place].deaths > points[place - 1].deaths) {
        const x = this.x(points[place].at);
        parts.push(draw("path", { class: "death", d: `M${x} ${floor - 9}l5 9h-10z` }));
      }
    }
    return parts;
  }

  describe(sample) {
    return `${clock(sample.at)}: ${count(sample.active)} alive`;
  }

  summary() {
    const alive = this.points().map((sample) => sample.active);
    return `lowest ${count(Math.min(...alive))}, highest ${count(Math.max(...alive))}, now ${count(alive.at(-1))}`;
  }
}

class BeatsChart extends Chart {
  points() {
    return this.samples.buckets(BUCKET_S).filter((bucket) => bucket.at > this.end - this.span);
  }

  highest() {
    return Math.max(0, ...this.points().map((bucket) => Math.max(bucket.beats_sent, bucket.beats_answered + bucket.beats_missed)));
  }

  marks() {
    return this.points().flatMap((bucket) => {
      const x = Math.max(LEFT, this.x(bucket.at - BUCKET_S) + 1);
      const end = Math.max(x + 1, Math.min(this.x(this.end), this.x(bucket.at)) - 1);
      const bar = (name, from, to) => {
        const box = { class: name, x, y: this.y(to), width: end - x, height: this.y(from) - this.y(to) };
        return to > from ? [draw("rect", box)] : [];
      };
      const { beats_sent: sent, beats_answered: answered, beats_missed: missed } = bucket;
      const parts = [...bar("answered", 0, answered), ...bar("missed", answered, answered + missed)];
      if (sent > 0) {
        parts.push(draw("line", { class: "sent", x1: x, x2: end, y1: this.y(sent), y2: this.y(sent) }));
      }
      return parts;
    });
  }

  describe(bucket) {
    const { beats_sent: sent, beats_answered: answered, beats_missed: missed } = bucket;
    return `${clock(bucket.at - BUCKET_S)} to ${clock(bucket.at)}: ${count(sent)} sent, ${count(answered)} answered, ${count(missed)} missed`;
  }

  summary() {
    const sum = (name) => this.points().reduce((total, bucket) => total + bucket[name], 0);
    return `${count(sum("beats_sent"))} sent, ${count(sum("beats_answered"))} answered, ${count(sum("beats_missed"))} missed`;
  }
}

// What the charts show, minute by minute, the newest first.
const showMinutes = (samples) => {
  const details = find("minutes");
  if (!details.open) return;
  const names = ["active", "opened", "closed", "beats_sent", "beats_answered", "beats_missed", "deaths"];
  const rows = samples.buckets(60).reverse().map((minute) => {
    const until = Math.min(minute.at, samples.last.at);
    return make("tr", {}, make("td", {}, clock(until)), ...names.map((name) => make("td", {}, count(minute[name]))));
  });
  details.querySelector("tbody").replaceChildren(...rows);
};
