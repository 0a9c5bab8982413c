package delivery

import (
	"context"

	"github.com/tarn-data/tarn/duck"
)

// bucketMacros compute Iceberg's bucket transform in SQL: murmur3, 32 bits, x86, seed 0, over the
// little-endian 8 bytes of an integer or the UTF-8 bytes of a text. Arithmetic is modulo 2³² on
// UBIGINT. list_transform over one element names a value that is used twice.
// Source: Iceberg table specification, appendix B.
var bucketMacros = []string{
	`CREATE OR REPLACE MACRO tarn_mul(a, b) AS (a::UBIGINT * b::UBIGINT) & 4294967295::UBIGINT`,
	`CREATE OR REPLACE MACRO tarn_rot(a, left_by, right_by) AS list_transform([a::UBIGINT], lambda v: ((v << left_by) & 4294967295::UBIGINT) | (v >> right_by))[1]`,
	`CREATE OR REPLACE MACRO tarn_murmur_block(k) AS tarn_mul(tarn_rot(tarn_mul(k, 3432918353), 15, 17), 461845907)`,
	`CREATE OR REPLACE MACRO tarn_murmur_round(h, k) AS (tarn_mul(tarn_rot(xor(h::UBIGINT, tarn_murmur_block(k)), 13, 19), 5) + 3864292196::UBIGINT) & 4294967295::UBIGINT`,
	`CREATE OR REPLACE MACRO tarn_murmur_shift(h, n) AS list_transform([h::UBIGINT], lambda v: xor(v, v >> n))[1]`,
	`CREATE OR REPLACE MACRO tarn_murmur_end(h, len) AS tarn_murmur_shift(tarn_mul(tarn_murmur_shift(tarn_mul(tarn_murmur_shift(xor(h::UBIGINT, len::UBIGINT), 16), 2246822507), 13), 3266489909), 16)`,
	`CREATE OR REPLACE MACRO tarn_le(h, pos, len) AS ('0x' || list_reduce(list_transform(range(len), lambda b: substr(h, (pos + b) * 2 + 1, 2)), lambda x, y: y || x))::UBIGINT`,
	`CREATE OR REPLACE MACRO tarn_murmur_text(h, n) AS tarn_murmur_end(
		xor(list_reduce(list_prepend(0::UBIGINT, list_transform(range(n // 4), lambda i: tarn_le(h, i * 4, 4))), lambda acc, k: tarn_murmur_round(acc, k)),
			CASE WHEN n % 4 = 0 THEN 0::UBIGINT ELSE tarn_murmur_block(tarn_le(h, n - n % 4, n % 4)) END), n)`,
	`CREATE OR REPLACE MACRO iceberg_bucket_long(v, n) AS ((tarn_murmur_end(tarn_murmur_round(tarn_murmur_round(0, (v & 4294967295)::UBIGINT), ((v >> 32) & 4294967295)::UBIGINT), 8) & 2147483647::UBIGINT) % n)::BIGINT`,
	`CREATE OR REPLACE MACRO iceberg_bucket_text(s, n) AS ((tarn_murmur_text(hex(encode(s)), octet_length(encode(s))) & 2147483647::UBIGINT) % n)::BIGINT`,
}

// defineBuckets makes the macros known to an instance.
func defineBuckets(ctx context.Context, db *duck.DB) error {
	for _, sql := range bucketMacros {
		if err := db.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}
