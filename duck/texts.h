#include <stdint.h>

typedef struct { int32_t start, length; } tarn_text;

#ifdef __cplusplus
extern "C"
#endif
// Copies texts into a vector, one call for a column, since a call from Go costs as much as a text does.
// It returns 0 when there is no memory for them.
int tarn_assign_texts(void *vector, const tarn_text *texts, const uint64_t *valid, uint64_t rows, const char *source, const char *unescaped);
