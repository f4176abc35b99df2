"""The notebooks' questions in Korean, for the Korean index."""

QUESTIONS = {
    "01_generate": "이 생성기는 무엇을 그리는가?",
    "02_label_and_filter": "컨셉에 맞는 이미지는?",
    "03_segment": "눈, 입, 머리카락은 어디에 있는가?",
    "04_property_scores": "눈, 입, 고개, 머리카락의 점수는 얼마인가?",
    "05_finetune": "미세조정으로 생성기를 컨셉에 맞출 수 있는가?",
    "06_property_cnn": "CNN이 픽셀로 속성 점수를 예측할 수 있는가?",
    "07_find_vectors": "w의 어느 방향이 눈을 뜨게 하는가?",
    "08_test_vectors": "얼굴이 요청대로 바뀌는가?",
    "09_select_final_vectors": "어떤 잠재 벡터가 오로라의 얼굴이 되는가?",
    "10_meters": "측정기마다 무엇을 재는가?",
    "11_failures": "무엇이 실패하는가?",
    "12_generators": "생성기들은 어떻게 다른가?",
    "play": "얼굴이 매끄럽게 움직이려면 이미지가 몇 장 필요한가?",
    "01_collect": "이 시스템은 어떤 이미지로 만드는가?",
    "02_training_data": "어떤 이미지가 학습 데이터인가?",
    "03_input_values": "눈, 입, 머리색, 배경, 고개의 값은 얼마인가?",
    "04_generator": "조건부 NVAE가 조건대로 얼굴을 그리는가?",
    "05_real_or_generated": "분류기가 생성된 얼굴과 렌더링한 얼굴을 구별할 수 있는가?",
    "06_retouch": "리터칭하면 생성된 얼굴이 더 진짜 같아지는가?",
    "07_evaluation": "신경망이 요청한 값대로 그리는가?",
    "08_improvements": "다시 학습하지 않고 생성된 얼굴을 개선할 수 있는가?",
}
"""Name of a notebook -> its question."""
