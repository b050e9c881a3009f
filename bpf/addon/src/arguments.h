#pragma once

// Every argument is checked, and a wrong one is answered with a sentence that names it.

#include <napi.h>

#include <initializer_list>
#include <string>

namespace tributary {

inline Napi::TypeError ArgumentError(Napi::Env env, const std::string &sentence) {
  return Napi::TypeError::New(env, sentence);
}

/** A whole number within [min, max]; `name` is what the caller calls it. */
inline uint32_t RequireInteger(Napi::Value value, const char *name, uint32_t min, uint32_t max) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (number != static_cast<double>(static_cast<int64_t>(number)) || number < min || number > max)
    throw ArgumentError(value.Env(), std::string(name) + " must be a whole number between " + std::to_string(min) +
                                         " and " + std::to_string(max));
  return static_cast<uint32_t>(number);
}

/** A whole number that JavaScript has exactly. */
inline uint64_t RequireId(Napi::Value value, const char *name) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (number < 0 || number > 9007199254740991.0 || number != static_cast<double>(static_cast<uint64_t>(number)))
    throw ArgumentError(value.Env(), std::string(name) + " must be a whole number up to 2^53 - 1");
  return static_cast<uint64_t>(number);
}

/** A bigint of 64 bits without sign. */
inline uint64_t RequireBigInt(Napi::Value value, const char *name) {
  bool is_lossless = false;
  const uint64_t number = value.IsBigInt() ? value.As<Napi::BigInt>().Uint64Value(&is_lossless) : 0;
  if (!is_lossless) throw ArgumentError(value.Env(), std::string(name) + " must be a bigint from 0 to 2^64 - 1");
  return number;
}

inline bool RequireBoolean(Napi::Value value, const char *name) {
  if (!value.IsBoolean()) throw ArgumentError(value.Env(), std::string(name) + " must be true or false");
  return value.As<Napi::Boolean>().Value();
}

inline std::string RequireString(Napi::Value value, const char *name) {
  if (!value.IsString()) throw ArgumentError(value.Env(), std::string(name) + " must be a string");
  return value.As<Napi::String>().Utf8Value();
}

struct Bytes {
  uint8_t *data;
  size_t length;
};

/** The memory behind a Uint8Array, also when it is a view of (shared) WebAssembly memory. At least `min` bytes. */
inline Bytes RequireBytes(Napi::Value value, const char *name, size_t min) {
  napi_typedarray_type type;
  size_t length = 0;
  void *data = nullptr;
  if (!value.IsTypedArray() ||
      napi_get_typedarray_info(value.Env(), value, &type, &length, &data, nullptr, nullptr) != napi_ok ||
      type != napi_uint8_array)
    throw ArgumentError(value.Env(), std::string(name) + " must be a Uint8Array");
  if (length < min)
    throw ArgumentError(value.Env(), std::string(name) + " must hold at least " + std::to_string(min) +
                                         " bytes, it has " + std::to_string(length));
  return {static_cast<uint8_t *>(data), length};
}

/** An options object that has no other keys than `known`: a misspelt one is not ignored. */
inline Napi::Object RequireOptions(Napi::Value value, const char *name, std::initializer_list<const char *> known) {
  if (!value.IsObject() || value.IsArray() || value.IsFunction())
    throw ArgumentError(value.Env(), std::string(name) + " must be an object");
  const auto options = value.As<Napi::Object>();
  const Napi::Array keys = options.GetPropertyNames();
  for (uint32_t i = 0; i < keys.Length(); i++) {
    const std::string key = keys.Get(i).As<Napi::String>().Utf8Value();
    bool is_known = false;
    std::string all;
    for (const char *candidate : known) {
      is_known = is_known || key == candidate;
      all += (all.empty() ? "" : ", ") + std::string(candidate);
    }
    if (!is_known)
      throw ArgumentError(value.Env(), std::string(name) + " has no option `" + key + "`; there are: " + all);
  }
  return options;
}

}  // namespace tributary
