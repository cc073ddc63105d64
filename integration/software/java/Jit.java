// Loops that get compiled: numbers, objects, strings and calls through an interface. The answers are
// the same however they are run.

import java.util.Arrays;
import java.util.function.LongUnaryOperator;

public class Jit {
    public static void main(String[] args) {
        int scale = Integer.parseInt(args[0]);
        System.out.println("sieve " + sieve(100_000 * scale));
        System.out.println("matrix " + matrix(60 * scale));
        System.out.println("hash " + hash(200_000 * scale));
        System.out.println("calls " + calls(300_000 * scale));
        System.out.println("text " + text(5_000 * scale));
    }

    private static int sieve(int limit) {
        boolean[] composite = new boolean[limit];
        int primes = 0;
        for (int n = 2; n < limit; n++) {
            if (!composite[n]) {
                primes++;
                for (long m = (long) n * n; m < limit; m += n) {
                    composite[(int) m] = true;
                }
            }
        }
        return primes;
    }

    private static String matrix(int n) {
        double[][] a = new double[n][n];
        double[][] b = new double[n][n];
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < n; j++) {
                a[i][j] = i + j;
                b[i][j] = i - 2 * j;
            }
        }
        double trace = 0;
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < n; j++) {
                double sum = 0;
                for (int k = 0; k < n; k++) {
                    sum += a[i][k] * b[k][j];
                }
                trace += i == j ? sum : 0;
            }
        }
        return String.format("%.0f", trace);
    }

    private static int hash(int rounds) {
        int[] data = new int[256];
        int hash = 17;
        for (int i = 0; i < rounds; i++) {
            data[i & 255] = hash;
            hash = 31 * hash + (data[(hash >>> 3) & 255] ^ i);
        }
        return hash ^ Arrays.hashCode(data);
    }

    /** Three classes behind one interface: what was compiled for one has to be undone for the next. */
    private static long calls(int rounds) {
        LongUnaryOperator[] operators = {x -> x + 1, x -> x * 3, x -> x ^ (x >> 7)};
        long value = 1;
        for (LongUnaryOperator operator : operators) {
            for (int i = 0; i < rounds; i++) {
                value = operator.applyAsLong(value);
            }
        }
        for (int i = 0; i < rounds; i++) {
            value = operators[i % 3].applyAsLong(value);
        }
        return value;
    }

    private static int text(int rounds) {
        StringBuilder builder = new StringBuilder();
        for (int i = 0; i < rounds; i++) {
            builder.append("n").append(i).append(' ');
        }
        return builder.toString().replace("n1", "one").chars().sum();
    }
}
