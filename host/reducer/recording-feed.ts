// Tells a recording over an agent's channel: as fast as the credit allows, one window at a time.
import type { Payload } from '../wire/channel-sender.ts';
import { type RecordingAgent, shiftWindows } from './recording-agent.ts';

/** The agent's end of a channel, in this process or over TCP. */
export interface FeedLink {
  readonly canOffer: boolean;
  /** Everything that was offered has been received. */
  readonly isReceived: boolean;
  offer(payloads: readonly Payload[]): void;
  /** Resolves when one of the above may have changed. Throws when the channel is lost. */
  changed(): Promise<void>;
  /** Says goodbye and resolves when that is received. */
  sayGoodbye(): Promise<void>;
  /** The recording ended without Goodbye. */
  hangUp(): Promise<void>;
}

export interface FeedOptions {
  /** Added to each window number. */
  shift: number;
  /** Resolves when the recorded `window` may be told. */
  pace: (window: number) => Promise<void>;
}

export async function feedRecording(
  agent: RecordingAgent,
  link: FeedLink,
  { shift, pace }: FeedOptions,
): Promise<void> {
  for await (const { window, payloads } of agent.windows()) {
    await pace(window);
    while (!link.canOffer) await link.changed();
    link.offer(shift === 0 ? payloads : shiftWindows(payloads, shift));
  }
  while (!link.isReceived) await link.changed();
  if (agent.saidGoodbye) await link.sayGoodbye();
  else await link.hangUp();
}
