// What the upper plot can show: a quantity is one or more channels that are read off one axis.

import { t } from "./i18n.js";

const PHASES = ["l1", "l2", "l3"];
const byPhase = (before, after) => PHASES.map((phase) => [`${before}_${phase}_${after}`, phase.toUpperCase()]);

// places   so many are said of a value
// hasZero  whether the axis begins at nothing
// lines    channels, and what each is called beside the others
export const QUANTITIES = [
  { name: "power", unit: "W", places: 0, hasZero: true, lines: [["power_w", "Σ"]] },
  { name: "phases", unit: "W", places: 0, hasZero: true, lines: byPhase("power", "w") },
  {
    name: "drawn", unit: "W", places: 0, hasZero: true,
    lines: [["power_import_w", "Σ"], ...byPhase("power_import", "w"), ["power_import_t1_w", "T1"]],
  },
  { name: "sent", unit: "W", places: 0, hasZero: true, lines: [["power_export_w", "Σ"]] },
  { name: "both", unit: "W", places: 0, hasZero: true, lines: [["power_abs_w", "Σ"]] },
  { name: "voltage", unit: "V", places: 1, hasZero: false, lines: byPhase("voltage", "v") },
  { name: "current", unit: "A", places: 2, hasZero: true, lines: byPhase("current", "a") },
  { name: "frequency", unit: "Hz", places: 2, hasZero: false, lines: [["frequency_hz", "f"]] },
  {
    name: "angle_u", unit: "°", places: 1, hasZero: false,
    lines: [["angle_u_l2_l1_deg", "L2–L1"], ["angle_u_l3_l1_deg", "L3–L1"]],
  },
  {
    name: "angle_i", unit: "°", places: 1, hasZero: false,
    lines: [["angle_i_u_l1_deg", "L1"], ["angle_i_u_l2_deg", "L2"], ["angle_i_u_l3_deg", "L3"]],
  },
];

export const POWER = QUANTITIES[0];
// Of several meters only powers have a sum.
const SUMMED = "W";
// Colours by place; a dash tells lines apart where colours do not.
export const LOOKS = [
  { colour: "power", dash: [] }, { colour: "energy", dash: [8, 3] }, { colour: "sent", dash: [2, 3] },
  { colour: "average", dash: [10, 3, 2, 3] }, { colour: "reading", dash: [5, 5] },
];

// The quantities that all of these meters have, with those of their lines that they have; power always.
export function offered(meters) {
  const has = (key) => meters.every((meter) => meter.channels.some((one) => one.key === key));
  const isSum = meters.length > 1;
  return QUANTITIES.map((one) => (one === POWER ? one : { ...one, lines: one.lines.filter(([key]) => has(key)) }))
    .filter((one) => one.lines.length > 0 && !(isSum && one.unit !== SUMMED));
}

export const isOfPower = (quantity) => quantity.name === POWER.name;

// What a line is called: alone it is the quantity itself.
export const nameOf = (quantity, index) => (quantity.lines.length > 1 ? quantity.lines[index][1] : t(`quantity.${quantity.name}`));

// The switch of a line: where there is but one, that of the quantity.
export const traceOf = (quantity, index) => (quantity.lines.length > 1 ? quantity.lines[index][0] : "power");

// Whether one of several lines is switched off: it is neither drawn nor said, nor in any number.
export const isOut = (quantity, index, traces) => quantity.lines.length > 1 && traces[traceOf(quantity, index)] === false;
