// Question: does Go's runtime work: goroutines, channels, the garbage collector, timers?
package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"
)

// churn makes garbage and returns a checksum of it.
func churn(seed int) [32]byte {
	sum := sha256.Sum256([]byte{byte(seed)})
	for i := 0; i < 2000; i++ {
		garbage := make([]byte, 4096)
		copy(garbage, sum[:])
		sum = sha256.Sum256(garbage)
	}
	return sum
}

func main() {
	sums := make([][32]byte, 8)
	var group sync.WaitGroup
	for i := range sums {
		group.Add(1)
		go func() {
			defer group.Done()
			sums[i] = churn(i)
		}()
	}
	group.Wait()
	runtime.GC()

	for i, sum := range sums {
		fmt.Printf("%d %x\n", i, sum[:8])
	}
	select {
	case <-time.After(20 * time.Millisecond):
		fmt.Println("timer fired")
	case <-make(chan int):
	}
	if len(os.Args) > 1 {
		os.Exit(len(os.Args[1]))
	}
}
