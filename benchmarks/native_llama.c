// llama.cpp at the works of native.py: reads `WORK PROMPT TOKENS ROWS` a line, and prints how many tokens it did in how many
// seconds by the clock and of processor time, and the latter of all that it did. `native_llama MODEL.gguf THREADS`.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "llama.h"

static double now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void quiet(enum ggml_log_level level, const char *text, void *data) {
    (void)data;
    if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

static void step(struct llama_context *context, const llama_token *tokens, int count, int position, int rows) {
    struct llama_batch batch = llama_batch_init(count, 0, 1);
    for (int i = 0; i < count; i++) {
        batch.token[i] = tokens[i];
        batch.pos[i] = rows > 1 ? position : position + i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = rows > 1 ? i : 0;
        batch.logits[i] = rows > 1 || i == count - 1;
    }
    batch.n_tokens = count;
    if (llama_decode(context, batch)) exit(1);
    llama_batch_free(batch);
}

static llama_token best(struct llama_context *context, int row, int vocabulary) {
    const float *logits = llama_get_logits_ith(context, row);
    int found = 0;
    for (int i = 1; i < vocabulary; i++)
        if (logits[i] > logits[found]) found = i;
    return found;
}

int main(int count, char **given) {
    if (count != 3) return 2;
    llama_log_set(quiet, NULL);
    llama_backend_init();
    struct llama_model *model = llama_model_load_from_file(given[1], llama_model_default_params());
    if (!model) return 1;
    struct llama_context_params wanted = llama_context_default_params();
    wanted.n_ctx = 4096, wanted.n_batch = wanted.n_ubatch = 512, wanted.n_seq_max = 8, wanted.kv_unified = true;
    wanted.n_threads = wanted.n_threads_batch = atoi(given[2]);
    struct llama_context *context = llama_init_from_model(model, wanted);
    if (!context) return 1;
    int vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model)), prompt, tokens, rows;
    llama_memory_t memory = llama_get_memory(context);
    llama_token *text = malloc(sizeof(llama_token) * 4096), next[8];
    for (int i = 0; i < 4096; i++) text[i] = rand() % vocabulary;
    char work[32];
    while (scanf("%31s %d %d %d", work, &prompt, &tokens, &rows) == 4) {
        llama_memory_clear(memory, true);
        int whole = strcmp(work, "decode") != 0;  // what is timed begins with the prompt
        double wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID), all = cpu;
        step(context, text, prompt, 0, 1);
        if (!whole) {
            best(context, prompt - 1, vocabulary);
            wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
        }
        for (int r = 1; r < rows; r++) llama_memory_seq_cp(memory, 0, r, -1, -1);
        for (int r = 0; r < rows; r++) next[r] = text[r];
        for (int i = 0; i < tokens; i++) {
            step(context, next, rows, prompt + i, rows);
            for (int r = 0; r < rows; r++) next[r] = best(context, r, vocabulary);
        }
        llama_synchronize(context);
        double end = now(CLOCK_PROCESS_CPUTIME_ID);
        printf("%d %.6f %.6f %.6f\n", tokens ? rows * tokens : prompt, now(CLOCK_MONOTONIC) - wall, end - cpu, end - all);
        fflush(stdout);
    }
    return 0;
}
