// Histograms of round trips and of tallies (wasm-modules/assembly/lib/{histogram,bucket}.ts): counts of the buckets
// between the lowest and the highest with samples, in room that doubles when a sample lies outside.
#pragma once

#include "containers.hpp"

constexpr i32 HISTOGRAM_INDEX_MIN = -160;
constexpr i32 HISTOGRAM_INDEX_MAX = 135;
constexpr u32 SAMPLE_US_MAX = 1 << 27;
constexpr u32 HISTOGRAM_ROOM_MIN = 16;

struct Histogram {
	u32 *counts;
	u16 first;
	u16 room;

	u32 *count_at(u32 position)
	{
		return counts + (position - first);
	}

	bool has_room(u32 position) const
	{
		return position - first < room;
	}

	// A bit for each of HISTOGRAM_ROOM_MIN counts that is not 0.
	static u32 used(const u32 *counts)
	{
		u32 bits = 0;
		for (u32 at = 0; at < HISTOGRAM_ROOM_MIN; at++)
			bits |= static_cast<u32>(counts[at] != 0) << at;
		return bits;
	}

	u32 lowest() const
	{
		u32 at = 0;
		u32 bits = used(counts);
		while (bits == 0)
			bits = used(counts + (at += HISTOGRAM_ROOM_MIN));
		return first + at + static_cast<u32>(__builtin_ctz(bits));
	}

	u32 highest() const
	{
		u32 at = room - HISTOGRAM_ROOM_MIN;
		u32 bits = used(counts + at);
		while (bits == 0)
			bits = used(counts + (at -= HISTOGRAM_ROOM_MIN));
		return first + at + 31 - static_cast<u32>(__builtin_clz(bits));
	}
};

struct Segment {
	u64 boundary;
	u64 eighth;
};

// Mantissas of 2^(k/8), rounded down.
constexpr u64 BOUNDARIES[9] = {0,
			       0x172b83c7d517a,
			       0x306fe0a31b715,
			       0x4bfdad5362a27,
			       0x6a09e667f3bcc,
			       0x8ace5422aa0db,
			       0xae89f995ad3ad,
			       0xd5818dcfba487,
			       0xfffffffffffff};

inline Segment segments[256];
inline Pool<Histogram> histograms;

inline void init_histograms()
{
	histograms.create(1 << 17);
	for (u64 segment = 0; segment < 256; segment++) {
		u32 eighth = 0;
		while (eighth < 7 && BOUNDARIES[eighth + 1] < segment << 44)
			eighth++;
		segments[segment] = {BOUNDARIES[eighth + 1], eighth};
	}
}

// Bucket of `seconds` for base 2^(1/8), upper-inclusive (OpenTelemetry metrics data model).
inline i32 bucket_of(double seconds)
{
	u64 bits;
	__builtin_memcpy(&bits, &seconds, sizeof bits);
	const u64 mantissa = bits & 0xfffffffffffff;
	const Segment &segment = segments[mantissa >> 44];
	const i32 exponent = static_cast<i32>(bits >> 52) - 1023;
	return exponent * 8 + static_cast<i32>(segment.eighth) + (mantissa > segment.boundary) - (mantissa == 0);
}

inline u32 take_histogram()
{
	const u32 histogram = histograms.take();
	if (histogram == 0) {
		count(records::REDUCER_COUNTER_HISTOGRAMS_REFUSED);
		return 0;
	}
	*histograms.at(histogram) = {nullptr, 0, 0};
	return histogram;
}

// Room for the positions, with some on both sides.
inline void place_room(Histogram *row, u32 lowest, u32 highest)
{
	const u32 needed = highest - lowest + 1;
	u32 room = HISTOGRAM_ROOM_MIN;
	while (room < needed)
		room *= 2;
	const u32 below = (room - needed) / 2;
	row->counts = static_cast<u32 *>(take_block(room * sizeof(u32)));
	__builtin_memset(row->counts, 0, room * sizeof(u32));
	row->first = static_cast<u16>(lowest > below ? lowest - below : 0);
	row->room = static_cast<u16>(room);
}

// Widens the room to positions from `lowest` to `highest`.
inline void make_room(Histogram *row, u32 lowest, u32 highest)
{
	if (row->counts == nullptr) return place_room(row, lowest, highest);
	const Histogram old = *row;
	place_room(row, least<u32>(lowest, old.first), greatest<u32>(highest, old.first + old.room - 1u));
	__builtin_memcpy(row->count_at(old.first), old.counts, old.room * sizeof(u32));
	give_block(old.counts, old.room * sizeof(u32));
}

inline u32 add_saturated(u32 bucket, u64 samples)
{
	return static_cast<u32>(least<u64>(bucket + samples, ~0u));
}

struct Sample {
	Histogram *row;
	u64 samples;
	u32 position;
	u32 pad0;
};

// Samples wait in a log, so that their buckets come side by side. What reads or gives back a histogram counts them
// first.
constexpr u32 LOG_SIZE = 32;
inline Sample sample_log[LOG_SIZE];
inline u32 logged_samples;

inline void count_logged()
{
	for (u32 index = 0; index < logged_samples; index++) {
		const Sample &sample = sample_log[index];
		if (UNLIKELY(!sample.row->has_room(sample.position)))
			make_room(sample.row, sample.position, sample.position);
	}
	for (u32 index = 0; index < logged_samples; index++)
		look_at(sample_log[index].row->count_at(sample_log[index].position));
	for (u32 index = 0; index < logged_samples; index++) {
		u32 *bucket = sample_log[index].row->count_at(sample_log[index].position);
		*bucket = add_saturated(*bucket, sample_log[index].samples);
	}
	logged_samples = 0;
}

inline void add_samples(u32 histogram, i32 index, u64 samples)
{
	Histogram *row = histograms.at(histogram);
	const u32 position = static_cast<u32>(least(greatest(index, HISTOGRAM_INDEX_MIN), HISTOGRAM_INDEX_MAX) -
					      HISTOGRAM_INDEX_MIN);
	sample_log[logged_samples++] = {row, samples, position, 0};
	if (logged_samples == LOG_SIZE) count_logged();
}

inline void merge_histogram(u32 &into, u32 from)
{
	count_logged();
	if (into == 0) into = take_histogram();
	if (UNLIKELY(into == 0)) return;
	Histogram *target = histograms.at(into);
	Histogram *source = histograms.at(from);
	const u32 lowest = source->lowest();
	const u32 highest = source->highest();
	if (!target->has_room(lowest) || !target->has_room(highest)) make_room(target, lowest, highest);
	for (u32 position = lowest; position <= highest; position++)
		*target->count_at(position) = add_saturated(*target->count_at(position), *source->count_at(position));
}

inline void give_histogram(u32 histogram)
{
	count_logged();
	const Histogram *row = histograms.at(histogram);
	if (row->counts != nullptr) give_block(row->counts, row->room * sizeof(u32));
	histograms.give(histogram);
}
