// Energy as bars: what was used upwards, what was sent downwards. What is estimated is hatched; a
// bucket that is not over has a dashed frame.

const HATCH_PX = 7;

export function drawBars(plot, buckets, paint) {
  const { ctx, bbox } = plot;
  const ratio = devicePixelRatio || 1;
  const zero = plot.valToPos(0, "y", true);
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  const [used, sent] = [paint("energy"), paint("sent")];
  const hatches = [hatch(ctx, used, ratio), hatch(ctx, sent, ratio)];
  for (const one of buckets) {
    const left = plot.valToPos(one.t, "x", true);
    const right = plot.valToPos(one.end, "x", true);
    if (right < bbox.left || left > bbox.left + bbox.width) continue;
    const width = right - left;
    const gap = width > 6 * ratio ? Math.min(width * 0.18, 6 * ratio) : width > 2 * ratio ? ratio : 0;
    const box = { left: left + gap / 2, width: Math.max(width - gap, 1) };
    const guessed = one.import_kwh > 0 ? Math.min(1, (one.estimated_kwh ?? 0) / one.import_kwh) : 0;
    if (one.import_kwh > 0) drawBar(plot, box, zero, one.import_kwh, guessed, used, hatches[0]);
    // How much of what was sent is estimated is not told apart; the share of the time is.
    const unknown = guessed > 0 ? 1 - (one.coverage ?? 1) : 0;
    if (one.export_kwh > 0) drawBar(plot, box, zero, -one.export_kwh, unknown, sent, hatches[1]);
    if (one.is_partial && one.import_kwh > 0) frame(plot, box, zero, one, used, ratio);
  }
  ctx.restore();
}

// What is usual, as a level across each bucket.
export function drawLevels(plot, buckets, levels, colour) {
  const { ctx, bbox } = plot;
  const ratio = devicePixelRatio || 1;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.strokeStyle = colour;
  ctx.lineWidth = 2 * ratio;
  ctx.setLineDash([5 * ratio, 3 * ratio]);
  ctx.beginPath();
  let last = null;
  buckets.forEach((one, index) => {
    const level = levels[index];
    if (level !== null) {
      const y = plot.valToPos(level, "y", true);
      const left = plot.valToPos(one.t, "x", true);
      if (last === one.t) ctx.lineTo(left, y);
      else ctx.moveTo(left, y);
      ctx.lineTo(plot.valToPos(one.end, "x", true), y);
    }
    last = level === null ? null : one.end;
  });
  ctx.stroke();
  ctx.restore();
}

// The estimated part lies at the outer end.
function drawBar(plot, box, zero, kwh, guessed, colour, pattern) {
  const { ctx } = plot;
  const tip = plot.valToPos(kwh, "y", true);
  const edge = zero + (tip - zero) * (1 - guessed);
  ctx.fillStyle = colour;
  ctx.fillRect(box.left, Math.min(zero, edge), box.width, Math.abs(edge - zero));
  if (guessed <= 0) return;
  ctx.fillStyle = pattern;
  ctx.fillRect(box.left, Math.min(edge, tip), box.width, Math.abs(tip - edge));
}

function frame(plot, box, zero, one, colour, ratio) {
  const { ctx } = plot;
  const tip = plot.valToPos(one.import_kwh, "y", true);
  ctx.strokeStyle = colour;
  ctx.lineWidth = ratio;
  ctx.setLineDash([3 * ratio, 3 * ratio]);
  ctx.strokeRect(box.left + 0.5, tip - 4 * ratio, Math.max(box.width - 1, 1), zero - tip + 4 * ratio);
  ctx.setLineDash([]);
}

function hatch(ctx, colour, ratio) {
  const size = Math.round(HATCH_PX * ratio);
  const tile = document.createElement("canvas");
  tile.width = size;
  tile.height = size;
  const pen = tile.getContext("2d");
  pen.globalAlpha = 0.25;
  pen.fillStyle = colour;
  pen.fillRect(0, 0, size, size);
  pen.globalAlpha = 0.8;
  pen.strokeStyle = colour;
  pen.lineWidth = ratio;
  for (const shift of [-size, 0, size]) {
    pen.beginPath();
    pen.moveTo(shift, size);
    pen.lineTo(shift + size, 0);
    pen.stroke();
  }
  return ctx.createPattern(tile, "repeat");
}
