/* The fields of a configuration, as listed in the tables of layer kinds and bases, and functions that read, write and
 * check them. */
#ifndef NVP_FIELDS_H
#define NVP_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

/* The type of a field. */
typedef enum {
    NVP_CHOICE, /* an enumeration, as an int: one of `choices` */
    NVP_SWITCH, /* an int: 0 is the first of two choices, everything else the second */
    NVP_REAL,   /* a double */
    NVP_COUNT,  /* a size_t from `least` to `most` */
    NVP_ADDED,  /* likewise, of a base, from 0; the encoded numbers have it from version NVP_FIRST_WITH_ADDED on */
    NVP_WIDTHS, /* sizes >= 1 of hidden layers, and their number */
    NVP_MASK,   /* D zeros and ones, as unsigned char */
    NVP_ORDER,  /* sizes: each of 0, ..., D - 1 once */
    NVP_BOUNDS, /* D pairs of doubles, low < high, which may be infinite */
    NVP_REALS   /* D doubles >= 0, finite */
} nvp_form;

/* Names of the forms, for Python. */
extern const char *const nvp_form_names[];

typedef struct {
    const char *name; /* in Python's configuration; NULL: the end of the list */
    nvp_form form;
    size_t offset;          /* in the struct, of the value or of the pointer to a list */
    size_t n_offset;        /* likewise, of the number of widths */
    const char *choices[8]; /* names, then NULL */
    size_t least, most;
} nvp_field;

size_t nvp_count_choices(const nvp_field *field);

/* Access to the fields of a struct. A switch is 0 or 1. Lists have *n entries; masks, orders and reals have D, bounds
 * have 2 D. */
int nvp_get_choice(const void *config, const nvp_field *field);
double nvp_get_real(const void *config, const nvp_field *field);
size_t nvp_get_count(const void *config, const nvp_field *field);
const unsigned char *nvp_get_mask(const void *config, const nvp_field *field);
const size_t *nvp_get_sizes(const void *config, const nvp_field *field, size_t dim, size_t *n);
const double *nvp_get_reals(const void *config, const nvp_field *field, size_t dim, size_t *n);

/* Whether the field is 0 where older files have no number, so that new ones need none. */
bool nvp_is_left_out(const void *config, const nvp_field *field);

void nvp_set_choice(void *config, const nvp_field *field, int value);
void nvp_set_real(void *config, const nvp_field *field, double value);
void nvp_set_count(void *config, const nvp_field *field, size_t value);
void nvp_set_mask(void *config, const nvp_field *field, const unsigned char *mask);
void nvp_set_sizes(void *config, const nvp_field *field, const size_t *sizes, size_t n);
void nvp_set_reals(void *config, const nvp_field *field, const double *reals);

/* *n = the number of doubles in the lists of the fields. False: overflow. */
bool nvp_count_reals(const nvp_field *fields, size_t dim, size_t *n);

/* Copy the lists of doubles of a configuration to *reals, advance *reals past them, and let `to` refer to these. */
void nvp_copy_reals(const nvp_field *fields, size_t dim, const void *from, double **reals, void *to);

/* Let `to` refer to the lists of doubles of a configuration, which it does not own. */
void nvp_refer_to_reals(const nvp_field *fields, const void *from, void *to);

/* to = from, for fields other than lists. */
void nvp_copy_values(const nvp_field *fields, const void *from, void *to);

/* Whether the fields satisfy their forms. Values of reals and entries of orders are not checked. */
bool nvp_fields_are_valid(const nvp_field *fields, size_t dim, const void *config);

#endif
