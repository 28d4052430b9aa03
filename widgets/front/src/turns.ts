// Turns of controls that Python answers: one is on its way at a time, so that they never pile up, and the last one always arrives.

const LOST = 3000; // milliseconds after which an answer is no longer waited for

export class Turns {
  private last = 0;
  private answered = 0;
  private asked = -Infinity;
  private waiting = false;

  constructor(private readonly now: () => number) {}

  /** Something was turned that is to be sent. */
  want(): void {
    this.waiting = true;
  }

  /** An answer has come; whether the controls shall stand as it says, for the hand may be further already. */
  answer(turn: number): boolean {
    this.answered = turn;
    if (turn > this.last) this.last = turn; // turned from Python, or by another page
    return turn >= this.last && !this.waiting;
  }

  /** The number of the turn that is to be sent now; 0 while there is none, or an answer is awaited. */
  next(): number {
    const awaited = this.answered < this.last && this.now() - this.asked < LOST;
    if (!this.waiting || awaited) return 0;
    this.waiting = false;
    this.asked = this.now();
    this.last += 1;
    return this.last;
  }
}
