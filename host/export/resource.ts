import { type Resource, resourceFromAttributes } from '@opentelemetry/resources';

/** Who exports: one incarnation of the reducer. */
export function reducerResource(incarnation: bigint): Resource {
  return resourceFromAttributes({
    'service.name': 'tributary-reducer',
    'service.instance.id': incarnation.toString(16).padStart(16, '0'),
  });
}
