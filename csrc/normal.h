/* Tails of the standard normal distribution, accurate to about 1e-15 relative to the result. */
#ifndef NVP_NORMAL_H
#define NVP_NORMAL_H

/* Phi(z), the cumulative distribution function. For z > 0 use 1 - Phi(-z). */
double nvp_normal_cdf(double z);

/* log phi(z), the log-density. */
double nvp_normal_log_density(double z);

/* The quantile z <= 0 of a probability p <= 1/2, from log p. p itself may underflow to zero. */
double nvp_normal_quantile(double log_p);

/* -log Phi(-z), which has a standard exponential distribution if z is normal; and the z >= -infinity for it. */
double nvp_exponential_of_normal(double z);
double nvp_normal_of_exponential(double e);

#endif
