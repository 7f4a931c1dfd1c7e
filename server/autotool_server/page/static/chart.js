// A chart of uPlot as a component, which is made anew when what it shows or the theme changes.
import { Component, html } from "./html.js";
import uPlot from "./vendor/uplot/uPlot.esm.js";

const FONT = "12px system-ui, sans-serif";

export class Chart extends Component {
  // `options`: from colours by name to uPlot's options; `shape`: changes with all that is shown; `text`: what it shows.
  shouldComponentUpdate(next) {
    return next.shape !== this.props.shape;
  }

  render({ text, height }) {
    return html`<div class="chart" role="img" aria-label=${text} style=${{ height: `${height}px` }} ref=${(node) => (this.node = node)}></div>`;
  }

  componentDidMount() {
    this.make = this.make.bind(this);
    this.make();
    this.sizes = new ResizeObserver(() => this.plot.setSize(this.size()));
    this.sizes.observe(this.node);
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.scheme.addEventListener("change", this.make);
    document.addEventListener("themechange", this.make);
  }

  componentDidUpdate() {
    this.make();
  }

  componentWillUnmount() {
    this.sizes.disconnect();
    this.scheme.removeEventListener("change", this.make);
    document.removeEventListener("themechange", this.make);
    this.plot.destroy();
  }

  size() {
    return { width: Math.max(this.node.clientWidth, 100), height: this.props.height };
  }

  make() {
    this.plot?.destroy();
    const common = { ...this.size(), legend: { show: false }, cursor: { show: false }, padding: [10, 8, 6, 0] };
    this.plot = new uPlot({ ...common, ...this.props.options(colours(this.node)) }, this.props.data, this.node);
  }
}

// Return a function from the name of a colour in page.css to the colour that the theme gives it.
function colours(node) {
  return (name) => {
    node.style.color = `var(--${name})`;
    const { color } = getComputedStyle(node);
    node.style.color = "";
    return color;
  };
}

export function axis(colour, besides) {
  const grid = { stroke: colour("line"), width: 1 };
  const label = { labelSize: 18, labelFont: FONT, labelGap: 0 };
  return { stroke: colour("quiet"), font: FONT, grid, ticks: { ...grid, size: 4 }, size: 34, gap: 4, ...label, ...besides };
}
