// The eigenvalues on the unit disc: the dashed circle reaches to the second largest.
import type { Theme } from "./theme";

export function paintDisc(context: CanvasRenderingContext2D, width: number, eigenvalues: Float32Array, theme: Theme): void {
  const [middle, scale] = [width / 2, width / 2 - 5];
  const sizes: number[] = [];
  for (let k = 0; k < eigenvalues.length; k += 2) sizes.push(Math.hypot(eigenvalues[k], eigenvalues[k + 1]));
  const second = sizes.sort((a, b) => b - a)[1] ?? 0;
  const circle = (x: number, y: number, radius: number) => {
    context.moveTo(x + radius, y);
    context.arc(x, y, radius, 0, 2 * Math.PI);
  };
  context.clearRect(0, 0, width, width);
  [context.strokeStyle, context.lineWidth, context.globalAlpha] = [theme.faint, 1, 0.6];
  context.beginPath();
  context.moveTo(0, middle);
  context.lineTo(width, middle);
  context.moveTo(middle, 0);
  context.lineTo(middle, width);
  context.stroke();
  context.globalAlpha = 1;
  context.beginPath();
  circle(middle, middle, scale);
  context.stroke();
  context.setLineDash([3, 3]);
  context.strokeStyle = theme.accent;
  context.beginPath();
  circle(middle, middle, scale * second);
  context.stroke();
  context.setLineDash([]);
  context.fillStyle = `rgb(${theme.weights.join(" ")} / 0.75)`;
  context.beginPath();
  for (let k = 0; k < eigenvalues.length; k += 2) circle(middle + scale * eigenvalues[k], middle - scale * eigenvalues[k + 1], 2.6);
  context.fill();
}
