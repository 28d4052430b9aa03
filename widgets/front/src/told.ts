// Who is told that something has changed.

export class Told<What extends unknown[] = []> {
  private readonly listeners = new Set<(...what: What) => void>();

  /** Call back at every change; returns how to end that. */
  subscribe(listener: (...what: What) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  tell(...what: What): void {
    for (const listener of this.listeners) listener(...what);
  }
}
