"""The picture of growth: two log-log panels, drawn as SVG by hand so that nothing need be installed."""

import math

COLOURS = ["#0b6e99", "#d9730d", "#0f7b6c", "#ad1a72", "#6940a5", "#e03e3e", "#64473a", "#9b9a97", "#dfab01", "#1f3a93", "#4d7c0f", "#444444"]
WIDTH, HEIGHT, LEFT, TOP = 520, 420, 60, 40
SPACE = 330  # For the legend beside a panel.


class Panel:
    def __init__(self, x, title, unit, sizes, series):
        self.x, self.title, self.unit, self.sizes, self.series = x, title, unit, sizes, series
        every = [value for _, values in series for value in values]
        self.low, self.high = math.floor(math.log10(min(every))), math.ceil(math.log10(max(every)))

    def at(self, size, value):
        across = math.log10(size / self.sizes[0]) / math.log10(self.sizes[-1] / self.sizes[0])
        up = (math.log10(value) - self.low) / (self.high - self.low)
        return self.x + LEFT + across * (WIDTH - LEFT), TOP + (1 - up) * HEIGHT

    def draw(self):
        out = [text(self.x + LEFT, TOP - 16, self.title, weight="bold", size=14)]
        for power in range(self.low, self.high + 1):
            x, y = self.at(self.sizes[0], 10**power)
            out.append(f'<line x1="{x}" y1="{y:.1f}" x2="{self.x + WIDTH}" y2="{y:.1f}" stroke="#ddd"/>')
            out.append(text(x - 8, y + 4, f"{10**power:,g}", anchor="end"))
        for size in self.sizes:
            x, y = self.at(size, 10**self.low)
            out.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{y}" stroke="#eee"/>')
            out.append(text(x, y + 18, f"{size:,}", anchor="middle"))
        out.append(text(self.x + LEFT + (WIDTH - LEFT) / 2, TOP + HEIGHT + 38, "stored tasks", anchor="middle"))
        out.append(self.linear())
        for number, (name, values) in enumerate(self.series):
            colour = COLOURS[number % len(COLOURS)]
            points = [self.at(size, value) for size, value in zip(self.sizes, values)]
            out.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="'
                       + " ".join(f"{x:.1f},{y:.1f}" for x, y in points) + '"/>')
            out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
            y = TOP + 10 + number * 20
            out.append(f'<rect x="{self.x + WIDTH + 14}" y="{y - 9}" width="12" height="12" fill="{colour}"/>')
            out.append(text(self.x + WIDTH + 32, y + 1, name))
        y = TOP + 10 + len(self.series) * 20
        out.append(f'<line x1="{self.x + WIDTH + 12}" y1="{y - 3}" x2="{self.x + WIDTH + 28}" y2="{y - 3}" '
                   'stroke="#888" stroke-dasharray="4 3"/>')
        out.append(text(self.x + WIDTH + 32, y + 1, "linear growth, for the eye"))
        return out

    def linear(self):
        """From the lower left, as far as the panel goes."""
        decades = min(self.high - self.low, math.log10(self.sizes[-1] / self.sizes[0]))
        (x1, y1), (x2, y2) = self.at(self.sizes[0], 10**self.low), self.at(self.sizes[0] * 10**decades, 10**(self.low + decades))
        return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#888" stroke-dasharray="4 3"/>'


def text(x, y, words, anchor="start", weight="normal", size=12):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" font-size="{size}">{words}</text>'


def growth(sizes, table):
    times = [(name.removesuffix(", p50"), values) for name, unit, values, _ in table if unit == "us"]
    rest = [(f"{name} ({unit})", values) for name, unit, values, _ in table if unit != "us"]
    panels = [Panel(0, "Latency at one connection, p50, microseconds", "us", sizes, times),
              Panel(WIDTH + SPACE, "Restart, memory, disk", "", sizes, rest)]
    body = "\n".join(line for panel in panels for line in panel.draw())
    width, height = 2 * (WIDTH + SPACE), TOP + HEIGHT + 60
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            f'font-family="sans-serif" fill="#222"><rect width="{width}" height="{height}" fill="white"/>\n{body}\n</svg>\n')
