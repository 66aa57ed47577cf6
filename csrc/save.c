/* Write a flow or an ensemble to an .npz file: a zip archive (PKWARE, APPNOTE.TXT 6.3) of arrays in NumPy's format
 * (numpy.lib.format, version 1.0), as numpy.savez writes it and load.c reads it. */
#include "bytes.h"
#include "engine.h"
#include "ensemble.h"
#include "header.h"
#include "reals.h"
#include "replace.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- the archive -- */

enum {
    CHECKSUM = 14,
    LOCAL = 30
}; /* in the record before a member: the offset of the checksum, and the record's size */

typedef struct {
    nvp_bytes file, directory;
    size_t member; /* offset of the member being written */
    const char *name;
    size_t n_members;
} archive;

/* The fields that both records of a member share, from the version to the lengths of the name and of an empty extra
 * field. The member is not compressed, and its date is the earliest one of zip. */
static void put_attributes(nvp_bytes *to, uint32_t checksum, size_t size, size_t name_size) {
    nvp_put_integer(to, 20, 2);
    nvp_put_integer(to, 0, 6);
    nvp_put_integer(to, 0x21, 2);
    nvp_put_integer(to, checksum, 4);
    nvp_put_integer(to, size, 4);
    nvp_put_integer(to, size, 4);
    nvp_put_integer(to, name_size, 2);
    nvp_put_integer(to, 0, 2);
}

static void begin_member(archive *to, const char *name) {
    to->member = to->file.n, to->name = name;
    nvp_put_text(&to->file, "PK\3\4");
    put_attributes(&to->file, 0, 0, strlen(name));
    nvp_put_text(&to->file, name);
}

/* Fill in the sizes and the checksum, which are now known. */
static void end_member(archive *to) {
    if (to->file.status != NVP_OK)
        return;
    const size_t name_size = strlen(to->name), content = to->member + LOCAL + name_size, size = to->file.n - content;
    const uint32_t checksum = nvp_crc32(to->file.bytes + content, size);
    nvp_bytes sizes = {.bytes = to->file.bytes + to->member + CHECKSUM, .capacity = LOCAL - CHECKSUM};
    nvp_put_integer(&sizes, checksum, 4);
    nvp_put_integer(&sizes, size, 4);
    nvp_put_integer(&sizes, size, 4);

    nvp_put_text(&to->directory, "PK\1\2");
    nvp_put_integer(&to->directory, 20, 2);
    put_attributes(&to->directory, checksum, size, name_size);
    nvp_put_integer(&to->directory, 0, 8);
    nvp_put_integer(&to->directory, 0, 2);
    nvp_put_integer(&to->directory, to->member, 4);
    nvp_put_text(&to->directory, to->name);
    to->n_members++;
}

/* The central directory, and the record that locates it. Offsets have 32 bits. */
static nvp_status end_archive(archive *to) {
    const size_t offset = to->file.n;
    nvp_put(&to->file, to->directory.bytes, to->directory.n);
    nvp_put_text(&to->file, "PK\5\6");
    nvp_put_integer(&to->file, 0, 4);
    nvp_put_integer(&to->file, to->n_members, 2);
    nvp_put_integer(&to->file, to->n_members, 2);
    nvp_put_integer(&to->file, to->directory.n, 4);
    nvp_put_integer(&to->file, offset, 4);
    nvp_put_integer(&to->file, 0, 2);
    if (to->file.status != NVP_OK || to->directory.status != NVP_OK)
        return NVP_ERROR_MEMORY;
    const uint64_t most = UINT32_MAX;
    return to->file.n > most ? NVP_ERROR_SIZE : NVP_OK;
}

/* -- the arrays -- */

/* The header of an array, padded so that the elements begin at a multiple of 64 bytes. */
static void put_array_header(nvp_bytes *to, const char *type, size_t width, const char *shape) {
    enum { PREFIX = 10, ALIGNMENT = 64 };
    char text[160];
    const int length =
        snprintf(text, sizeof text, "{'descr': '<%s%zu', 'fortran_order': False, 'shape': %s, }", type, width, shape);
    const size_t used = PREFIX + (size_t)length + 1, size = (used + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    nvp_put(to, "\x93NUMPY\1\0", 8);
    nvp_put_integer(to, size - PREFIX, 2);
    nvp_put_text(to, text);
    for (size_t i = used; i < size; i++)
        nvp_put_text(to, " ");
    nvp_put_text(to, "\n");
}

/* ASCII text as an array in UTF-32. */
static void put_text_array(nvp_bytes *to, const nvp_bytes *text) {
    put_array_header(to, "U", text->n, "()");
    for (size_t i = 0; i < text->n; i++)
        nvp_put_integer(to, text->bytes[i], 4);
}

static void put_real_array(nvp_bytes *to, const void *reals, size_t n, size_t real_size) {
    char shape[40];
    snprintf(shape, sizeof shape, "(%zu,)", n);
    put_array_header(to, "f", real_size, shape);
    const char *next = reals;
    for (size_t i = 0; i < n; i++, next += real_size) {
        uint64_t bits;
        uint32_t half;
        if (real_size == sizeof half)
            memcpy(&half, next, sizeof half), bits = half;
        else
            memcpy(&bits, next, sizeof bits);
        nvp_put_integer(to, bits, real_size);
    }
}

/* -- the file -- */

/* The member of a header with this status and text, which is released. */
static nvp_status put_header_member(archive *to, nvp_status status, nvp_bytes *text) {
    if (status == NVP_OK) {
        begin_member(to, "header.npy");
        put_text_array(&to->file, text);
        end_member(to);
    }
    free(text->bytes);
    return status;
}

static nvp_status put_description_member(archive *to, const nvp_flow *flow) {
    size_t n;
    double *numbers;
    const nvp_status status = nvp_flow_encode(flow, &n, &numbers);
    if (status == NVP_OK) {
        begin_member(to, "description.npy");
        put_real_array(&to->file, numbers, n, sizeof *numbers);
        end_member(to);
    }
    free(numbers);
    return status;
}

static nvp_status put_flow(archive *to, const nvp_flow *flow, const void *params) {
    nvp_bytes text = {0};
    nvp_status status = put_header_member(to, nvp_put_header(&text, flow), &text);
    if (status == NVP_OK)
        status = put_description_member(to, flow);
    if (status != NVP_OK)
        return status;
    begin_member(to, "parameters.npy");
    put_real_array(&to->file, params, flow->n_params, flow->engine->real_size);
    end_member(to);
    return end_archive(to);
}

/* Give the file to the caller, or release it after a failure. */
static nvp_status give(archive *to, nvp_status status, void **bytes, size_t *n) {
    free(to->directory.bytes);
    if (status == NVP_OK)
        *bytes = to->file.bytes, *n = to->file.n;
    else
        free(to->file.bytes);
    return status;
}

nvp_status nvp_flow_save_bytes(const nvp_flow *flow, const void *params, void **bytes, size_t *n) {
    if (!bytes)
        return NVP_ERROR_ARGUMENT;
    *bytes = NULL;
    if (!n || !flow || !nvp_has_parameters(flow, params))
        return NVP_ERROR_ARGUMENT;
    if (flow->n_params > UINT32_MAX / flow->engine->real_size)
        return NVP_ERROR_SIZE;
    if (!nvp_all_finite(flow->dtype, params, flow->n_params))
        return NVP_ERROR_ARGUMENT;
    archive to = {0};
    return give(&to, put_flow(&to, flow, params), bytes, n);
}

/* Append the numbers of each flow, after their count. */
static nvp_status list_descriptions(const nvp_ensemble *ensemble, nvp_bytes *numbers) {
    for (size_t k = 0; k < ensemble->n_flows; k++) {
        size_t n;
        double *of_flow;
        const nvp_status status = nvp_flow_encode(ensemble->flows[k], &n, &of_flow);
        if (status != NVP_OK)
            return status;
        const double count = (double)n;
        nvp_put(numbers, &count, sizeof count);
        nvp_put(numbers, of_flow, n * sizeof *of_flow);
        free(of_flow);
    }
    return numbers->status;
}

static nvp_status put_descriptions_member(archive *to, const nvp_ensemble *ensemble) {
    nvp_bytes numbers = {0};
    const nvp_status status = list_descriptions(ensemble, &numbers);
    if (status == NVP_OK) {
        begin_member(to, "descriptions.npy");
        put_real_array(&to->file, numbers.bytes, numbers.n / sizeof(double), sizeof(double));
        end_member(to);
    }
    free(numbers.bytes);
    return status;
}

static nvp_status put_ensemble(archive *to, const nvp_ensemble *ensemble, const void *params) {
    nvp_bytes text = {0};
    nvp_status status = put_header_member(to, nvp_put_ensemble_header(&text, ensemble), &text);
    if (status == NVP_OK)
        status = put_descriptions_member(to, ensemble);
    if (status != NVP_OK)
        return status;
    begin_member(to, "weights.npy");
    put_real_array(&to->file, ensemble->weights, ensemble->n_flows, sizeof(double));
    end_member(to);
    begin_member(to, "parameters.npy");
    put_real_array(&to->file, params, nvp_ensemble_n_parameters(ensemble), ensemble->flows[0]->engine->real_size);
    end_member(to);
    return end_archive(to);
}

nvp_status nvp_ensemble_save_bytes(const nvp_ensemble *ensemble, const void *params, void **bytes, size_t *n) {
    if (!bytes)
        return NVP_ERROR_ARGUMENT;
    *bytes = NULL;
    if (!n || !ensemble || (!params && nvp_ensemble_n_parameters(ensemble)))
        return NVP_ERROR_ARGUMENT;
    const size_t n_params = nvp_ensemble_n_parameters(ensemble);
    if (n_params > UINT32_MAX / ensemble->flows[0]->engine->real_size)
        return NVP_ERROR_SIZE;
    if (!nvp_all_finite(nvp_ensemble_dtype(ensemble), params, n_params))
        return NVP_ERROR_ARGUMENT;
    archive to = {0};
    return give(&to, put_ensemble(&to, ensemble, params), bytes, n);
}

static nvp_status write_and_free(const char *path, nvp_status status, void *bytes, size_t n) {
    if (status == NVP_OK)
        status = nvp_write_file(path, bytes, n);
    free(bytes);
    return status;
}

nvp_status nvp_ensemble_save(const char *path, const nvp_ensemble *ensemble, const void *params) {
    void *bytes;
    size_t n = 0;
    if (!path)
        return NVP_ERROR_ARGUMENT;
    const nvp_status status = nvp_ensemble_save_bytes(ensemble, params, &bytes, &n);
    return write_and_free(path, status, bytes, n);
}

nvp_status nvp_flow_save(const char *path, const nvp_flow *flow, const void *params) {
    void *bytes;
    size_t n = 0;
    if (!path)
        return NVP_ERROR_ARGUMENT;
    const nvp_status status = nvp_flow_save_bytes(flow, params, &bytes, &n);
    return write_and_free(path, status, bytes, n);
}
