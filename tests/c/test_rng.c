/* Random numbers: known answers of Philox, and shuffles. */
#include "check.h"
#include "rng.h"
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static void test_philox(void) {
    /* Known answers of the authors' library, Random123. */
    static const struct {
        uint32_t counter[4], key[2], answer[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t out[4];
        nvp_philox4x32(known[i].counter, known[i].key, out);
        CHECK(memcmp(out, known[i].answer, sizeof out) == 0);
    }
}

static void test_shuffle(void) {
    enum { N = 1000 };
    size_t order[2][N];
    bool seen[N] = {false};
    nvp_shuffle(7, 1, N, order[0]);
    nvp_shuffle(7, 2, N, order[1]);
    for (size_t i = 0; i < N; i++)
        seen[order[0][i]] = true;
    size_t n_seen = 0, n_same = 0, n_fixed = 0;
    for (size_t i = 0; i < N; i++) {
        n_seen += seen[i];
        n_same += order[0][i] == order[1][i];
        n_fixed += order[0][i] == i;
    }
    CHECK(n_seen == N);
    CHECK(n_same < 10 && n_fixed < 10); /* one is expected of each */
}

static const named_test tests[] = {TEST(philox), TEST(shuffle)};

int main(int n_arguments, char **arguments) { return RUN_TESTS(tests, n_arguments, arguments); }
