import { docComment } from './names.ts';
import type { Enum, ScalarName } from './schema.ts';

export const AS_TYPE: Record<ScalarName, string> = {
  bool: 'bool',
  uint8: 'u8',
  uint16: 'u16',
  uint32: 'u32',
  uint64: 'u64',
  int8: 'i8',
  int16: 'i16',
  int32: 'i32',
  int64: 'i64',
  float32: 'f32',
  float64: 'f64',
};

/** A namespace of typed constants: the values of an AssemblyScript enum are i32 and would need a cast at every store. */
export function writeAsEnum(item: Enum): string {
  const values = item.values.map(
    (value) =>
      `${docComment(value.doc, '  ')}  export const ${value.name}: ${AS_TYPE[item.scalar]} = ${value.value};\n`,
  );
  return `${docComment(item.doc)}export namespace ${item.name} {\n${values.join('')}}\n`;
}
