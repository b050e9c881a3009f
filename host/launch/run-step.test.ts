import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';

const MODULE = JSON.stringify(import.meta.resolve('./run-step.ts'));

/** What a step writes to standard error, and how it fails. Steps of less than half a second write nothing. */
async function runLike(shell: string): Promise<{ stderr: string; stdout: string }> {
  const program = `
    import { runStep } from ${MODULE};
    await runStep({ title: 'compile', command: 'sh', args: ['-c', ${JSON.stringify(shell)}] })
      .catch((error) => console.log(error.name, error.message));`;
  return promisify(execFile)(process.execPath, ['--input-type=module-typescript', '--eval', program]);
}

test('a step that took its time leaves a line with the seconds', async () => {
  const { stderr, stdout } = await runLike('sleep 0.6');
  assert.match(stderr, /^compile: \d+ s\n$/);
  assert.equal(stdout, '');
});

test('the line of a step that failed does not look like that of one that is done', async () => {
  const { stderr, stdout } = await runLike('sleep 0.6; echo no such header; exit 3');
  assert.match(stderr, /^compile: failed after \d+ s\n$/);
  assert.match(stdout, /^StepError compile failed \(exit code 3\): sh -c .*\nno such header\n$/);
});
