// Fills a small heap by several threads, so that the collector has to work, and checks that nothing
// that is still in use was lost or changed.

import java.util.ArrayDeque;
import java.util.concurrent.atomic.AtomicLong;

public class Heap {
    private static final int THREADS = 8;
    private static final int ROUNDS = 60_000;
    private static final int KEPT = 400;

    public static void main(String[] args) throws Exception {
        AtomicLong sum = new AtomicLong();
        Thread[] threads = new Thread[THREADS];
        for (int i = 0; i < THREADS; i++) {
            int seed = i;
            threads[i] = new Thread(() -> sum.addAndGet(fill(seed)));
            threads[i].start();
        }
        for (Thread thread : threads) {
            thread.join();
        }
        System.out.println("sum " + sum);
    }

    /** Allocates many arrays of which only the last ones stay in use. */
    private static long fill(int seed) {
        ArrayDeque<int[]> kept = new ArrayDeque<>();
        long sum = 0;
        for (int round = 0; round < ROUNDS; round++) {
            int[] array = new int[64 + round % 512];
            array[0] = seed + round;
            array[array.length - 1] += 1;
            kept.addLast(array);
            if (kept.size() > KEPT) {
                int[] oldest = kept.removeFirst();
                sum += oldest[0] + oldest[oldest.length - 1];
            }
        }
        return sum;
    }
}
