/* Amazon Ion text to the canonical encoding: sketch/ion.py in C, decision for decision. What is accepted: docs/sketch.md. */
#ifndef ATOLL_ION_H
#define ATOLL_ION_H

#include "wire.h"

/* The version marker and the struct that a line is: past its opening brace. */
bool ion_enter(struct scanner *s);
/* A field name that is looked at and dropped: the span is good until something else is read. */
bool ion_name(struct scanner *s, struct span *name);
/* As scan_attributes. */
bool ion_attributes(struct scanner *s, size_t *first, bool *moved);
/* Any value, read and forgotten. */
bool ion_skip(struct scanner *s);

#endif
