#include "textflag.h"

// BYTES fills a vector with a byte.
#define BYTES(value, x, y) \
	MOVL $value, AX; \
	VMOVD AX, x; \
	VPBROADCASTB x, y

// MARKS makes the marks of 32 bytes at offset(DX): ends in e, what is neither an end nor plain in o.
#define MARKS(offset, e, o) \
	VMOVDQU offset(DX), Y5; \
	VPCMPEQB Y0, Y5, Y6; \
	VPCMPEQB Y1, Y5, Y7; \
	VPCMPEQB Y2, Y5, Y8; \
	VPOR Y6, Y7, Y6; \
	VPOR Y6, Y8, Y6; \
	VPMOVMSKB Y6, e; \
	VPCMPGTB Y4, Y5, Y7; \ // ' ' and above; bytes from 0x80 on are negative
	VPCMPEQB Y3, Y5, Y8; \
	VPANDN Y7, Y8, Y7; \
	VPOR Y6, Y7, Y7; \
	VPMOVMSKB Y7, o; \
	NOTL o

// func markAVX2(ends, odd *uint64, text *byte, blocks int, delim byte)
TEXT ·markAVX2(SB), NOSPLIT, $0-33
	MOVQ ends+0(FP), DI
	MOVQ odd+8(FP), SI
	MOVQ text+16(FP), DX
	MOVQ blocks+24(FP), CX
	MOVBLZX delim+32(FP), AX
	VMOVD AX, X0
	VPBROADCASTB X0, Y0
	BYTES(0x0a, X1, Y1) // \n
	BYTES(0x22, X2, Y2) // "
	BYTES(0x5c, X3, Y3) // \
	BYTES(0x1f, X4, Y4)

block:
	MARKS(0, R8, R9)
	MARKS(32, R10, R11)
	SHLQ $32, R10
	ORQ R10, R8
	MOVQ R8, (DI)
	SHLQ $32, R11
	ORQ R11, R9
	MOVQ R9, (SI)
	ADDQ $64, DX
	ADDQ $8, DI
	ADDQ $8, SI
	DECQ CX
	JNZ block
	VZEROUPPER
	RET
