import { z } from 'zod';
import { TREE } from './definition.ts';
import { isOption, kebabCase, type Option, type Section } from './option.ts';

const DEFAULT = 'defaultInFile';

/** What editors check a configuration file with: JSON Schema, draft 7, which the YAML language server reads. */
export function configurationSchema(): Record<string, unknown> {
  const schema = objectOf(
    Object.entries(TREE).map(([name, node]) => [name, isOption(node) ? schemaOf(node) : sectionOf(node)]),
  ).meta({ title: 'Configuration of Tributary' });
  return z.toJSONSchema(schema, { io: 'input', target: 'draft-7', override: nameDefault }) as Record<string, unknown>;
}

/** zod leaves the default of whatever is transformed out, since its default is of the output; ours is of the input. */
function nameDefault({ jsonSchema }: { jsonSchema: Record<string, unknown> }): void {
  if (!(DEFAULT in jsonSchema)) return;
  jsonSchema.default = jsonSchema[DEFAULT];
  delete jsonSchema[DEFAULT];
}

/** A section without options is null in YAML, and fine. */
function sectionOf(section: Section): z.ZodType {
  return objectOf(Object.entries(section).map(([name, option]) => [name, schemaOf(option)])).nullable();
}

function schemaOf({ kind, description, default: value }: Option<unknown>): z.ZodType {
  return kind.schema.meta({ ...kind.schema.meta(), description, ...(value === undefined ? {} : { [DEFAULT]: value }) });
}

function objectOf(entries: readonly (readonly [string, z.ZodType])[]): z.ZodObject {
  return z.strictObject(Object.fromEntries(entries.map(([name, schema]) => [kebabCase(name), schema.optional()])));
}
