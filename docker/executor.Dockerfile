# Driver and executors of spark-submit on Kubernetes: Spark 4.2 with Scala 2.13 and Java 17, and the archive of
# `make archive NODE_PYTHON=/usr/bin/python3` as it is unpacked anywhere else. Its context is the folder `build/archive`.
FROM apache/spark:4.2.0-scala2.13-java17-python3-ubuntu
ADD environment.tar.gz /opt/environment/
ENV PYSPARK_PYTHON=/opt/environment/bin/python
