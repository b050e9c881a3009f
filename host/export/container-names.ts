// What a node says of its container beyond the id: its pod, and the parts of the name of its image.

export interface Pod {
  podUid: string;
  podQos: string;
  podNamespace: string;
  podName: string;
}

/** `text`: as wasm-modules/assembly/enrich/pods.ts joins it. */
export function readPod(text: string): Pod {
  const [podUid = '', podQos = '', podNamespace = '', podName = ''] = text.split('\0');
  return { podUid, podQos, podNamespace, podName };
}

export interface Image {
  imageName: string;
  /** Its digest when it has no tag. */
  imageTag: string;
}

const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** `[registry[:port]/]path[:tag][@digest]` (github.com/distribution/reference), or a digest alone. Parts that are not told are "". */
export function readImage(image: string): Image {
  if (DIGEST.test(image)) return { imageName: '', imageTag: image };
  const [named, digest = ''] = image.split('@', 2);
  const colon = named.indexOf(':', named.lastIndexOf('/') + 1);
  if (colon < 0) return { imageName: named, imageTag: digest };
  return { imageName: named.slice(0, colon), imageTag: named.slice(colon + 1) };
}
