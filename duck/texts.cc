#include "texts.h"

extern "C" void duckdb_unsafe_vector_assign_string_element_len(void *vector, uint64_t index, const char *text, uint64_t length);

// DuckDB throws where its memory limit is reached, and no exception may pass the frames of C and Go.
extern "C" int tarn_assign_texts(void *vector, const tarn_text *texts, const uint64_t *valid, uint64_t rows, const char *source, const char *unescaped) {
	try {
		for (uint64_t i = 0; i < rows; i++) {
			if (valid[i >> 6] >> (i & 63) & 1) {
				const char *at = texts[i].start >= 0 ? source + texts[i].start : unescaped + (-1 - texts[i].start);
				duckdb_unsafe_vector_assign_string_element_len(vector, i, at, (uint64_t)texts[i].length);
			}
		}
	} catch (...) {
		return 0;
	}
	return 1;
}
