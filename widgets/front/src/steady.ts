// A cell's output keeps its height while JupyterLab puts a new view in the place of an old one, as it does when the saved
// picture is renewed: else the notebook would jump.

const SOON = 2000; // milliseconds within which the new view is there

export function steady(view: HTMLElement): () => void {
  let area: HTMLElement | null = null;
  const observer = new ResizeObserver(() => {
    area ??= view.closest<HTMLElement>(".jp-OutputArea");
    if (area && view.offsetHeight) area.style.minHeight = `${view.offsetHeight}px`;
  });
  observer.observe(view);
  return () => {
    observer.disconnect();
    setTimeout(() => {
      if (area && !area.querySelector(".ifog")) area.style.minHeight = "";
    }, SOON);
  };
}
