/* The table of layer types, by nvp_layer_type. */
static const layer_type layer_types[NVP_N_LAYER_TYPES] = {
    [NVP_AFFINE_COUPLING] = {affine_coupling_plan, affine_coupling_initialize, affine_coupling_apply,
                             affine_coupling_vjp, conditioner_mark_decaying},
    [NVP_ACT_NORM] = {act_norm_plan, act_norm_initialize, act_norm_apply, act_norm_vjp, NULL},
    [NVP_SPLINE_COUPLING] = {spline_coupling_plan, spline_coupling_initialize, spline_coupling_apply,
                             spline_coupling_vjp, conditioner_mark_decaying},
    [NVP_ADDITIVE_COUPLING] = {conditioner_plan, additive_coupling_initialize, additive_coupling_apply,
                               additive_coupling_vjp, conditioner_mark_decaying},
    [NVP_PERMUTATION] = {permutation_plan, permutation_initialize, permutation_apply, permutation_vjp, NULL},
    [NVP_LU_LINEAR] = {lu_linear_plan, lu_linear_initialize, lu_linear_apply, lu_linear_vjp, NULL},
};

static bool plan_layer(nvp_layer *layer) { return layer_types[layer->type].plan(layer); }

static void initialize(const nvp_flow *flow, uint64_t seed, void *params) {
    uint64_t counter = 0;
    for (size_t l = 0; l < flow->n_layers; l++) {
        const nvp_layer *layer = &flow->layers[l];
        layer_types[layer->type].initialize(layer, seed, &counter, (real *)params + layer->offset);
    }
    initialize_base(flow, seed, (real *)params + flow->base.offset);
}

static void mark_decaying(const nvp_flow *flow, void *marks) {
    memset(marks, 0, flow->n_params * sizeof(real));
    for (size_t l = 0; l < flow->n_layers; l++) {
        const nvp_layer *layer = &flow->layers[l];
        if (layer_types[layer->type].mark_decaying)
            layer_types[layer->type].mark_decaying(layer, (real *)marks + layer->offset);
    }
}
