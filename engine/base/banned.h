// SPDX-License-Identifier: Apache-2.0
/*
 * banned.h - functions nobody may call, as compile errors. Forced into every file by the Makefile (-include).
 * Each macro turns the call into an undeclared name that says what to do.
 */
#ifndef HATAKE_BASE_BANNED_H
#define HATAKE_BASE_BANNED_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BANNED(name, instead) banned_##name##_use_##instead
#undef strcpy
#define strcpy(a, b) BANNED(strcpy, memcpy_or_strdup)
#undef strcat
#define strcat(a, b) BANNED(strcat, buf)
#undef strncpy
#define strncpy(a, b, c) BANNED(strncpy, memcpy)
#undef strncat
#define strncat(a, b, c) BANNED(strncat, buf)
#undef sprintf
#define sprintf(...) BANNED(sprintf, snprintf_or_buf)
#undef vsprintf
#define vsprintf(...) BANNED(vsprintf, vsnprintf)
#undef strtok
#define strtok(a, b) BANNED(strtok, strsep_or_strv)
#undef atoi
#define atoi(a) BANNED(atoi, parse_i64)
#undef atol
#define atol(a) BANNED(atol, parse_i64)
#undef system
#define system(a) BANNED(system, posix_spawn)
#undef popen
#define popen(a, b) BANNED(popen, posix_spawn)
#undef alloca
#define alloca(a) BANNED(alloca, malloc)
#undef gmtime
#define gmtime(a) BANNED(gmtime, gmtime_r)
#undef localtime
#define localtime(a) BANNED(localtime, localtime_r)
#undef tmpnam
#define tmpnam(a) BANNED(tmpnam, O_TMPFILE)
#undef mktemp
#define mktemp(a) BANNED(mktemp, O_TMPFILE)
#endif
