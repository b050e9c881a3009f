import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { readImage, readPod } from './container-names.ts';

test('an image is its name and its tag, or its digest when it has no tag', () => {
  const digest = `sha256:${'0f'.repeat(32)}`;
  const rows: [string, string, string][] = [
    ['nginx', 'nginx', ''],
    ['nginx:1.27', 'nginx', '1.27'],
    ['docker.io/library/nginx:1.27-alpine', 'docker.io/library/nginx', '1.27-alpine'],
    ['registry.example:5000/shop/cart', 'registry.example:5000/shop/cart', ''],
    ['registry.example:5000/shop/cart:v2', 'registry.example:5000/shop/cart', 'v2'],
    [`registry.k8s.io/pause:3.9@${digest}`, 'registry.k8s.io/pause', '3.9'],
    [`registry.k8s.io/pause@${digest}`, 'registry.k8s.io/pause', digest],
    ['sha256:1', 'sha256', '1'],
    [digest, '', digest],
    ['', '', ''],
  ];
  for (const [image, imageName, imageTag] of rows) assert.deepEqual(readImage(image), { imageName, imageTag }, image);
});

test('a pod is read as far as it is told', () => {
  const nothing = { podUid: '', podQos: '', podNamespace: '', podName: '' };
  assert.deepEqual(readPod(''), nothing);
  assert.deepEqual(readPod('u-1\0burstable\0\0'), { ...nothing, podUid: 'u-1', podQos: 'burstable' });
  const whole = { podUid: 'u-1', podQos: 'guaranteed', podNamespace: 'shop', podName: 'cart-0' };
  assert.deepEqual(readPod('u-1\0guaranteed\0shop\0cart-0'), whole);
});
